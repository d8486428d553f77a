// https: a certificate is checked, against the host that was asked for.
#include <boost/asio/ssl/context.hpp>
#include <cstdio>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include "app/load/fake_shop.h"
#include "app/load/load.h"

namespace doorbuster {
namespace {

using load::FakeShop;

struct Certificate {
    std::string certificate_pem;
    std::string key_pem;
};

template <class Write> std::string pem(Write write) {
    const std::unique_ptr<BIO, decltype(&BIO_free_all)> bio(BIO_new(BIO_s_mem()), &BIO_free_all);
    write(bio.get());
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

// Signed by itself, for `host`, for a day.
Certificate certificate_for(const std::string& host) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  &EVP_PKEY_free);
    const std::unique_ptr<X509, decltype(&X509_free)> x509(X509_new(), &X509_free);
    X509_set_version(x509.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(x509.get()), 24L * 3600);
    X509_set_pubkey(x509.get(), key.get());
    X509_NAME* const name = X509_get_subject_name(x509.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(host.c_str()), -1, -1, 0);
    X509_set_issuer_name(x509.get(), name);
    X509_EXTENSION* const names =
        X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + host).c_str());
    X509_add_ext(x509.get(), names, -1);
    X509_EXTENSION_free(names);
    X509_sign(x509.get(), key.get(), EVP_sha256());
    Certificate out;
    out.certificate_pem = pem([&](BIO* bio) { PEM_write_bio_X509(bio, x509.get()); });
    out.key_pem = pem([&](BIO* bio) {
        PEM_write_bio_PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    return out;
}

class LoadOverTls : public testing::Test {
protected:
    LoadOverTls()
        : ca_file_(testing::TempDir() + "load-tls-ca-" + std::to_string(::getpid()) + ".pem") {
        const Certificate c = certificate_for("localhost");
        tls_.use_certificate(boost::asio::buffer(c.certificate_pem),
                             boost::asio::ssl::context::pem);
        tls_.use_private_key(boost::asio::buffer(c.key_pem), boost::asio::ssl::context::pem);
        std::ofstream(ca_file_) << c.certificate_pem;
        options_.sale = "demo";
        options_.buyers = 100;
        options_.connections = 4;
        options_.timeout = Duration(5'000);
    }
    void TearDown() override { std::remove(ca_file_.c_str()); }

    Result<LoadReport> run() {
        const std::atomic<bool> stop = false;
        return run_load(options_, stop, {});
    }

    boost::asio::ssl::context tls_{boost::asio::ssl::context::tls_server};
    std::string ca_file_;
    LoadOptions options_;
};

TEST_F(LoadOverTls, BuysFromAServerWhoseCertificateIsTrusted) {
    FakeShop shop({}, {}, &tls_);
    options_.url = shop.url("localhost");
    options_.ca_file = ca_file_;
    const auto report = run();
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_EQ(report->errors_total(), 0U) << to_json(*report);
    EXPECT_EQ(report->accepted, 10U);
}

TEST_F(LoadOverTls, RefusesAServerThatNobodyVouchesFor) {
    FakeShop shop({}, {}, &tls_);
    options_.url = shop.url("localhost");
    EXPECT_FALSE(run());
    options_.insecure = true;
    EXPECT_TRUE(run());
}

TEST_F(LoadOverTls, RefusesACertificateOfAnotherHost) {
    FakeShop shop({}, {}, &tls_);
    options_.url = shop.url("127.0.0.1");
    options_.ca_file = ca_file_;
    EXPECT_FALSE(run());
}

TEST_F(LoadOverTls, SaysWhenTheCertificatesFileCannotBeRead) {
    options_.url = "https://localhost:1";
    options_.ca_file = ca_file_ + ".none";
    const auto report = run();
    ASSERT_FALSE(report);
    EXPECT_TRUE(report.error().is(Errc::invalid));
}

} // namespace
} // namespace doorbuster
