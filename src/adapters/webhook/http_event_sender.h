// HttpEventSender: events as HTTP POSTs, signed as the Standard Webhooks specification says
// (signature.h); the body is a CloudEvent in structured mode.
//
// Everything on the one thread of the io_context that sends; any number of sends at once. What an
// attempt may do is bounded: one deadline over all of it, of the answer 8 KiB of header and 16 KiB
// of body, and per endpoint four connections that are kept while idle. Redirects are not followed.
// The host is looked up for each new connection, and only an address that passed the check of
// private networks (address_policy.h) is connected to.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/webhook/connection.h"
#include "adapters/webhook/endpoint_url.h"
#include "adapters/webhook/name_lookup.h"
#include "adapters/webhook/signature.h"
#include "ports/event_sender.h"
#include "runtime/clock.h"

namespace doorbuster::webhook {

enum class PrivateNetworks : std::uint8_t { refused, allowed };

struct SenderOptions {
    struct Endpoint {
        std::string url;
        std::string secret; // one or several (signature.h)
    };
    std::vector<Endpoint> endpoints;
    PrivateNetworks private_networks = PrivateNetworks::refused;
    Duration timeout{15'000}; // of a whole attempt
    std::string user_agent = "doorbuster";
};

class HttpEventSender final : public EventSender {
public:
    // Errc::invalid where a URL or a secret is wrong. Certificates are checked against the
    // system's authorities, or those of SSL_CERT_FILE and SSL_CERT_DIR. The clock outlives the
    // sender.
    static Result<std::unique_ptr<HttpEventSender>> open(const Clock& clock,
                                                         const SenderOptions& options);
    ~HttpEventSender() override;
    HttpEventSender(const HttpEventSender&) = delete;
    HttpEventSender& operator=(const HttpEventSender&) = delete;

    Task<SendResult> send(std::size_t endpoint, const EventMessage& message) override;
    void close() override;

private:
    struct Endpoint;
    using Opened = Result<std::unique_ptr<Connection>>;

    HttpEventSender(const Clock& clock, const SenderOptions& options);

    [[nodiscard]] std::string request_text(const Endpoint& endpoint,
                                           const EventMessage& message) const;
    Task<SendResult> attempt(Executor executor, Endpoint& endpoint, const EventMessage& message);
    Task<Opened> open_connection(Executor executor, Endpoint& endpoint, SteadyTime deadline);
    Task<Opened> connect_to(Executor executor, Endpoint& endpoint, boost::asio::ip::address address,
                            SteadyTime connect_deadline, SteadyTime deadline);

    const Clock& clock_;
    PrivateNetworks private_networks_;
    Duration timeout_;
    std::string user_agent_;
    std::optional<boost::asio::ssl::context> tls_;     // if an endpoint is https
    std::vector<std::unique_ptr<Endpoint>> endpoints_; // at fixed addresses
};

} // namespace doorbuster::webhook
