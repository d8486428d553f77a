// A host's addresses: getaddrinfo on a thread of its own, because it blocks for as long as the
// name servers are silent.
//
// Belongs to one connection and is used on its core. At most one getaddrinfo runs for it at a time,
// so that dead name servers cost one thread and not one an attempt.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/task.h"

namespace doorbuster::redis {

using Addresses = std::vector<boost::asio::ip::address>;

class HostLookup {
public:
    explicit HostLookup(std::string host);
    ~HostLookup();
    HostLookup(const HostLookup&) = delete;
    HostLookup& operator=(const HostLookup&) = delete;

    // One caller at a time. Never empty. Errc::timeout at the deadline, Errc::unavailable with the
    // resolver's words; an address is its own answer.
    Task<Result<Addresses>> addresses(std::chrono::steady_clock::time_point deadline);

    // A lookup that still runs will tell nobody. On the core, or after it was joined, and before
    // its io_context goes away.
    void close();

private:
    struct Shared;
    struct Waiting;

    std::string host_;
    // Shared with the thread that looks up, which nothing can interrupt and which may outlive this.
    std::shared_ptr<Shared> shared_;
};

} // namespace doorbuster::redis
