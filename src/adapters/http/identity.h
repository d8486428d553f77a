// Who is asking: a buyer, an administrator, from which address. One per core.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "adapters/http/message.h"
#include "domain/time.h"
#include "ports/token_verifier.h"

namespace doorbuster::http {

// Networks whose X-Forwarded-For is believed.
class TrustedProxies {
public:
    // Addresses or networks: "10.0.0.0/8", "::1". nullopt: one of them is neither.
    [[nodiscard]] static std::optional<TrustedProxies> parse(const std::vector<std::string>& list);

    // The client's address: the last one in X-Forwarded-For that is not a trusted proxy, if the
    // peer is one; the peer itself otherwise.
    [[nodiscard]] boost::asio::ip::address client_of(const Request& request) const;

private:
    struct Network {
        boost::asio::ip::address address;
        unsigned prefix_bits;
    };
    [[nodiscard]] bool contains(const boost::asio::ip::address& address) const;

    std::vector<Network> networks_;
};

// What a limit per address counts: the IPv4 address, or the /64 of an IPv6 one, as text.
[[nodiscard]] std::string limit_key_of(const boost::asio::ip::address& address);

class Identity {
public:
    struct Options {
        std::string admin_token;                 // empty: none
        std::unique_ptr<TokenVerifier> verifier; // null: identity.mode = "header"
    };
    explicit Identity(Options options) : options_(std::move(options)) {}

    // Set when the request cannot have a buyer, with the answer it gets.
    using Buyer = tl::expected<std::string, Response>;
    [[nodiscard]] Buyer buyer(const Request& request, TimePoint now);
    // Without the work of a signature check: is it certain already that nobody is named, or that
    // the name is not valid?
    [[nodiscard]] std::optional<Response> refuse_early(const Request& request) const;
    // In header mode the buyer's name costs nothing: the header's text once refuse_early passed.
    [[nodiscard]] bool reads_header() const { return options_.verifier == nullptr; }

    // A presented, valid admin token.
    [[nodiscard]] bool has_admin_token(const Request& request) const;
    // nullopt: may administer. Else 403 to a buyer with a valid token and to whom breaks the
    // loopback rules, 401 to anybody else.
    [[nodiscard]] std::optional<Response> refuse_admin(const Request& request, TimePoint now);

private:
    Options options_;
};

} // namespace doorbuster::http
