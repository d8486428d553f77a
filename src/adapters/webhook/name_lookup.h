// Looking up a receiver's addresses: getaddrinfo on a thread of its own, because it blocks for as
// long as the name servers are silent, longer than an attempt or a shutdown may wait.
//
// One NameLookup belongs to one host and is used on one io_context's thread. At most one
// getaddrinfo runs for it at a time: who asks meanwhile waits for the same answer. So a host whose
// name servers are dead costs one thread, however often it is asked for.
#pragma once

#include <boost/asio/ip/address.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtime/task.h"

namespace doorbuster::webhook {

using Addresses = std::vector<boost::asio::ip::address>;

// getaddrinfo. Blocks; any thread.
Result<Addresses> look_up(const std::string& host);

class NameLookup {
public:
    // `function` runs on a thread of its own.
    explicit NameLookup(std::string host,
                        std::function<Result<Addresses>(const std::string&)> function = look_up);
    ~NameLookup();
    NameLookup(const NameLookup&) = delete;
    NameLookup& operator=(const NameLookup&) = delete;

    // The host's addresses, not kept beyond this call: nobody may change them between a check and
    // its use. Errc::timeout at the deadline, Errc::unavailable with the resolver's words. An
    // address is its own answer.
    Task<Result<Addresses>> addresses(std::chrono::steady_clock::time_point deadline);

    // A lookup that still runs will tell nobody. On the thread, or after it was joined, and before
    // the io_context goes away.
    void close();

private:
    struct Shared;

    void disown();

    std::string host_;
    std::function<Result<Addresses>(const std::string&)> function_;
    // Shared with the thread that looks up, which may outlive this object: nothing can interrupt
    // getaddrinfo.
    std::shared_ptr<Shared> shared_;
};

} // namespace doorbuster::webhook
