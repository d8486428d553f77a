#include "adapters/http/tls.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <string>
#include <thread>
#include <vector>

#include "adapters/http/server_fixture.h"

namespace doorbuster::http::fixture {
namespace {

// A self-signed certificate and its key, in files that go away with it.
class TemporaryCertificate {
public:
    TemporaryCertificate() {
        std::string name = (std::filesystem::temp_directory_path() / "doorbuster-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        EVP_PKEY* const key = EVP_EC_gen("P-256");
        X509* const cert = X509_new();
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
        X509_gmtime_adj(X509_getm_notBefore(cert), -60);
        X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
        X509_set_pubkey(cert, key);
        X509_NAME* const subject = X509_get_subject_name(cert);
        const auto* const common_name = reinterpret_cast<const unsigned char*>("localhost");
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, common_name, -1, -1, 0);
        X509_set_issuer_name(cert, subject);
        X509_sign(cert, key, EVP_sha256());
        std::FILE* file = std::fopen(cert_path().c_str(), "w");
        PEM_write_X509(file, cert);
        std::fclose(file);
        file = std::fopen(key_path().c_str(), "w");
        PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
        std::fclose(file);
        X509_free(cert);
        EVP_PKEY_free(key);
    }
    ~TemporaryCertificate() { std::filesystem::remove_all(folder_); }
    TemporaryCertificate(const TemporaryCertificate&) = delete;
    TemporaryCertificate& operator=(const TemporaryCertificate&) = delete;

    [[nodiscard]] std::string cert_path() const { return folder_ + "/cert.pem"; }
    [[nodiscard]] std::string key_path() const { return folder_ + "/key.pem"; }

private:
    std::string folder_;
};

class TlsClient {
public:
    explicit TlsClient(std::uint16_t port)
        : client_(port), context_(SSL_CTX_new(TLS_client_method())) {
        static constexpr unsigned char kProtocols[] = "\x02h2\x08http/1.1";
        SSL_CTX_set_alpn_protos(context_, kProtocols, sizeof(kProtocols) - 1);
        ssl_ = SSL_new(context_);
        SSL_set_fd(ssl_, client_.fd());
        connected_ = SSL_connect(ssl_) == 1;
    }
    ~TlsClient() {
        SSL_free(ssl_);
        SSL_CTX_free(context_);
    }
    TlsClient(const TlsClient&) = delete;
    TlsClient& operator=(const TlsClient&) = delete;

    [[nodiscard]] bool connected() const { return connected_; }
    [[nodiscard]] std::string protocol() const {
        const unsigned char* name = nullptr;
        unsigned int size = 0;
        SSL_get0_alpn_selected(ssl_, &name, &size);
        return name ? std::string(name, name + size) : std::string();
    }
    void send(const std::string& bytes) {
        EXPECT_EQ(SSL_write(ssl_, bytes.data(), static_cast<int>(bytes.size())),
                  static_cast<int>(bytes.size()));
    }
    void end() { SSL_shutdown(ssl_); }
    // Until the server closes, or has sent `size_max`.
    std::string read(std::size_t size_max) {
        std::string text;
        std::vector<char> bytes(65536);
        while (text.size() < size_max) {
            const int n = SSL_read(ssl_, bytes.data(), static_cast<int>(bytes.size()));
            if (n <= 0) {
                said_goodbye = SSL_get_error(ssl_, n) == SSL_ERROR_ZERO_RETURN;
                break;
            }
            text.append(bytes.data(), static_cast<std::size_t>(n));
        }
        return text;
    }

    bool said_goodbye = false;

private:
    Client client_;
    SSL_CTX* context_;
    SSL* ssl_ = nullptr;
    bool connected_ = false;
};

class HttpsServer : public HttpServer {
protected:
    HttpsServer() {
        options_.tls_cert = certificate_.cert_path();
        options_.tls_key = certificate_.key_path();
    }
    TemporaryCertificate certificate_;
};

TEST_F(HttpsServer, AnswersOverTls) {
    start();
    TlsClient client(server_->port());
    ASSERT_TRUE(client.connected());
    EXPECT_EQ(client.protocol(), "http/1.1");
    client.send(get("/big") + get("/later"));
    EXPECT_GE(client.read(1 << 20).size(), std::size_t{1} << 20);
    client.send(get("/last", "Connection: close\r\n"));
    const std::string rest = client.read(SIZE_MAX);
    EXPECT_NE(rest.find("GET /last  127.0.0.1 loopback"), std::string::npos);
    EXPECT_TRUE(client.said_goodbye);
    client.end();
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpsServer, AnswersATlsClientThatHasFinishedSending) {
    start();
    TlsClient client(server_->port());
    client.send(get("/later"));
    client.end();
    EXPECT_NE(client.read(SIZE_MAX).find("GET /later "), std::string::npos);
}

TEST_F(HttpsServer, GivesUpOnAHandshakeThatDoesNotCome) {
    options_.handshake_timeout = milliseconds(50);
    start();
    Client client(server_->port());
    EXPECT_TRUE(client.is_closed());
}

TEST_F(HttpsServer, ClosesAConnectionThatSpeaksPlainHttp) {
    start();
    Client client(server_->port());
    client.send(get("/"));
    EXPECT_EQ(client.read().status, 0);
    EXPECT_TRUE(all_closed());
}

TEST_F(HttpsServer, DrainsTlsConnections) {
    start();
    TlsClient busy(server_->port());
    busy.send(get("/held"));
    ASSERT_TRUE(eventually([this] { return held() == 1; }));
    std::atomic<int> drained = -1;
    std::thread drainer([&] { drained = server_->drain(kPatience) ? 1 : 0; });
    EXPECT_TRUE(eventually([this] { return !Client(server_->port()).connected(); }));
    release();
    EXPECT_NE(busy.read(SIZE_MAX).find("Connection: close"), std::string::npos);
    busy.end();
    drainer.join();
    EXPECT_EQ(drained, 1);
}

TEST_F(HttpsServer, StreamsOverTlsAndKeepsTheConnection) {
    start();
    TlsClient client(server_->port());
    client.send(get("/stream/short") + get("/stream/short") + get("/piped"));
    client.send(get("/last", "Connection: close\r\n"));
    const std::string text = client.read(SIZE_MAX);
    const std::size_t end = text.find("\r\n0\r\n\r\nHTTP/1.1 200 OK");
    ASSERT_NE(end, std::string::npos);
    EXPECT_EQ(text.substr(0, end).size() / 20'000, 1U);
    EXPECT_NE(text.find("GET /piped "), std::string::npos);
    EXPECT_NE(text.find("GET /last "), std::string::npos);
    EXPECT_TRUE(client.said_goodbye);
    EXPECT_EQ(open_streams(), 0);
}

TEST_F(HttpsServer, EndsTheStreamOfATlsClientThatSaysGoodbyeOrIsGone) {
    start();
    {
        TlsClient polite(server_->port());
        TlsClient gone(server_->port());
        polite.send(get("/stream/open"));
        gone.send(get("/stream/open"));
        ASSERT_TRUE(eventually([this] { return open_streams() == 2; }));
        polite.end();
        EXPECT_NE(polite.read(SIZE_MAX).find("\r\n0\r\n\r\n"), std::string::npos);
    }
    EXPECT_TRUE(all_closed());
    EXPECT_EQ(open_streams(), 0);
}

TEST_F(HttpsServer, EndsTlsStreamsWhenItDrains) {
    start();
    TlsClient client(server_->port());
    client.send(get("/stream/open"));
    ASSERT_TRUE(eventually([this] { return open_streams() == 1; }));
    std::atomic<int> drained = -1;
    std::thread drainer([&] { drained = server_->drain(kPatience) ? 1 : 0; });
    EXPECT_NE(client.read(SIZE_MAX).find("begun\r\n0\r\n\r\n"), std::string::npos);
    client.end();
    drainer.join();
    EXPECT_EQ(drained, 1);
}

TEST_F(HttpsServer, SaysWhichTlsFileIsWrong) {
    const auto error = [this] {
        const auto opened = Server::open(
            cores_, options_, [this](std::size_t core) -> Handler& { return *handlers_[core]; });
        return opened ? std::string("opened") : opened.error().message();
    };
    const TemporaryCertificate other;
    options_.tls_key = other.key_path();
    EXPECT_NE(error().find(other.key_path()), std::string::npos);
    options_.tls_key = certificate_.key_path() + ".missing";
    EXPECT_NE(error().find(options_.tls_key), std::string::npos);
    options_.tls_key.clear();
    EXPECT_NE(error().find("both a certificate and a key"), std::string::npos);
    options_.tls_key = certificate_.key_path();
    options_.tls_cert = certificate_.key_path();
    EXPECT_NE(error().find("TLS certificate " + options_.tls_cert), std::string::npos);
}

} // namespace
} // namespace doorbuster::http::fixture
