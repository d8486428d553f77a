#include "adapters/http/tls.h"

#include <algorithm>
#include <openssl/ssl.h>
#include <string_view>
#include <utility>

namespace doorbuster::http {
namespace {

// RFC 7301: each name behind its length. A client that offers only others is told so.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
    static constexpr std::string_view kHttp11 = "http/1.1";
    for (unsigned int i = 0; i < offered_size; i += 1U + offered[i]) {
        const unsigned int size = offered[i];
        if (i + 1 + size > offered_size) break;
        if (size == kHttp11.size() && std::equal(kHttp11.begin(), kHttp11.end(), offered + i + 1)) {
            *chosen = offered + i + 1;
            *chosen_size = offered[i];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

} // namespace

Result<boost::asio::ssl::context> load_tls(const std::string& cert, const std::string& key) {
    namespace ssl = boost::asio::ssl;
    if (cert.empty() || key.empty()) {
        return fail(Errc::invalid, "TLS needs both a certificate and a key");
    }
    ssl::context context(ssl::context::tls_server);
    boost::system::error_code ec;
    context.use_certificate_chain_file(cert, ec);
    if (ec) return fail(Errc::invalid, "TLS certificate " + cert + ": " + ec.message());
    context.use_private_key_file(key, ssl::context::pem, ec);
    if (ec) return fail(Errc::invalid, "TLS key " + key + ": " + ec.message());

    SSL_CTX* const native = context.native_handle();
    if (SSL_CTX_check_private_key(native) != 1) {
        return fail(Errc::invalid, "TLS key " + key + " does not belong to certificate " + cert);
    }
    if (SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION) != 1) {
        return fail(Errc::invalid, "TLS 1.2 is not available");
    }
    SSL_CTX_set_options(native, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                    SSL_OP_CIPHER_SERVER_PREFERENCE);
    // An idle connection's OpenSSL buffers are 34 KiB, four times all of ours.
    SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(native, choose_protocol, nullptr);
    return context;
}

} // namespace doorbuster::http
