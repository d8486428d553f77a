// For the tests of the sender: a receiver that does to each connection what a test tells it to.
#pragma once

#include <algorithm>
#include <arpa/inet.h>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <mutex>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

namespace doorbuster::webhook::fixture {

// A self-signed certificate with its key, for one name ("DNS:localhost"), in files that go away.
class Certificate {
public:
    explicit Certificate(const std::string& name) {
        std::string folder =
            (std::filesystem::temp_directory_path() / "doorbuster-XXXXXX").string();
        folder_ = ::mkdtemp(folder.data());
        EVP_PKEY* const key = EVP_EC_gen("P-256");
        X509* const cert = X509_new();
        X509_set_version(cert, X509_VERSION_3);
        ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
        X509_gmtime_adj(X509_getm_notBefore(cert), -60);
        X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
        X509_set_pubkey(cert, key);
        X509_set_issuer_name(cert, X509_get_subject_name(cert));
        X509_EXTENSION* const names =
            X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, name.c_str());
        X509_add_ext(cert, names, -1);
        X509_EXTENSION_free(names);
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
    ~Certificate() { std::filesystem::remove_all(folder_); }
    Certificate(const Certificate&) = delete;
    Certificate& operator=(const Certificate&) = delete;

    [[nodiscard]] std::string cert_path() const { return folder_ + "/cert.pem"; }
    [[nodiscard]] std::string key_path() const { return folder_ + "/key.pem"; }

private:
    std::string folder_;
};

// One accepted connection, on a thread of its own.
class Peer {
public:
    Peer(int fd, SSL_CTX* tls) : fd_(fd) {
        if (tls == nullptr) return;
        ssl_ = SSL_new(tls);
        SSL_set_fd(ssl_, fd_);
        secured_ = SSL_accept(ssl_) == 1;
    }
    ~Peer() {
        SSL_free(ssl_);
        ::close(fd_);
    }
    Peer(const Peer&) = delete;
    Peer& operator=(const Peer&) = delete;

    // A whole request by its Content-Length; empty when the sender has closed.
    std::string request() {
        while (true) {
            const std::size_t end = input_.find("\r\n\r\n");
            if (end != std::string::npos) {
                const std::size_t size = end + 4 + length_of(input_.substr(0, end));
                if (input_.size() >= size) {
                    std::string out = input_.substr(0, size);
                    input_.erase(0, size);
                    return out;
                }
            }
            char bytes[4096];
            const auto n = read(bytes, sizeof(bytes));
            if (n <= 0) return {};
            input_.append(bytes, static_cast<std::size_t>(n));
        }
    }
    void send(std::string_view text) {
        while (!text.empty()) {
            const auto n = ssl_ != nullptr
                               ? SSL_write(ssl_, text.data(), static_cast<int>(text.size()))
                               : ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
            if (n <= 0) return;
            text.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    // Until the sender closes.
    void wait_for_close() {
        char byte = 0;
        while (read(&byte, 1) > 0) continue;
    }

private:
    long read(char* to, std::size_t size) {
        if (ssl_ == nullptr) return ::recv(fd_, to, size, 0);
        return secured_ ? SSL_read(ssl_, to, static_cast<int>(size)) : -1;
    }
    static std::size_t length_of(const std::string& head) {
        constexpr std::string_view kName = "Content-Length: ";
        const std::size_t at = head.find(kName);
        return at == std::string::npos ? 0 : std::stoul(head.substr(at + kName.size()));
    }

    int fd_;
    SSL* ssl_ = nullptr;
    bool secured_ = false;
    std::string input_;
};

class Receiver {
public:
    // `number` counts the connections from 1.
    using Script = std::function<void(Peer& peer, int number)>;

    explicit Receiver(Script script, const Certificate* certificate = nullptr)
        : script_(std::move(script)) {
        if (certificate != nullptr) {
            // OpenSSL writes to a socket whose peer may have gone, with write(2).
            ::signal(SIGPIPE, SIG_IGN);
            tls_ = SSL_CTX_new(TLS_server_method());
            SSL_CTX_use_certificate_file(tls_, certificate->cert_path().c_str(), SSL_FILETYPE_PEM);
            SSL_CTX_use_PrivateKey_file(tls_, certificate->key_path().c_str(), SSL_FILETYPE_PEM);
        }
        listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address));
        ::listen(listener_, 64);
        socklen_t size = sizeof(address);
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        port_ = ntohs(address.sin_port);
        acceptor_ = std::thread([this] { accept(); });
    }
    ~Receiver() {
        stop();
        SSL_CTX_free(tls_);
    }
    Receiver(const Receiver&) = delete;
    Receiver& operator=(const Receiver&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] std::string url(std::string_view host = "127.0.0.1") const {
        const std::string_view scheme = tls_ != nullptr ? "https://" : "http://";
        return std::string(scheme) + std::string(host) + ":" + std::to_string(port_) + "/hook";
    }
    [[nodiscard]] int connections() {
        const std::scoped_lock lock(mutex_);
        return connections_;
    }
    // Nobody listens any more; every connection is cut.
    void stop() {
        if (!acceptor_.joinable()) return;
        ::shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        ::close(listener_);
        {
            const std::scoped_lock lock(mutex_);
            for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
        }
        for (std::thread& thread : threads_) thread.join();
    }

private:
    void accept() {
        while (true) {
            const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
            if (fd < 0) return;
            const std::scoped_lock lock(mutex_);
            open_.push_back(fd);
            threads_.emplace_back([this, fd, number = ++connections_] { serve(fd, number); });
        }
    }
    void serve(int fd, int number) {
        // A duplicate: the number of a closed descriptor may be somebody else's by now.
        const int copy = ::dup(fd);
        {
            Peer peer(copy, tls_);
            script_(peer, number);
            ::shutdown(copy, SHUT_RDWR);
        }
        const std::scoped_lock lock(mutex_);
        std::erase(open_, fd);
        ::close(fd);
    }

    Script script_;
    SSL_CTX* tls_ = nullptr;
    int listener_ = -1;
    std::uint16_t port_ = 0;
    std::thread acceptor_;
    std::vector<std::thread> threads_; // of the acceptor, until it was joined
    std::mutex mutex_;                 // guards what follows
    std::vector<int> open_;
    int connections_ = 0;
};

} // namespace doorbuster::webhook::fixture
