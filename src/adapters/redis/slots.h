// Redis Cluster's map: which node has which slot, and what a node says when it has it not
// (the Redis Cluster specification, "Keys distribution model" and "MOVED redirection"). Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "adapters/redis/reply.h"
#include "adapters/redis/url.h"

namespace doorbuster::redis {

inline constexpr std::uint16_t kSlots = 16'384;
inline constexpr std::size_t kNodesMax = 1'000; // the specification's own bound

// CRC16 (XMODEM) of the key, or of what stands between its first '{' and the next '}' if that is
// not empty: keys with the same hash tag lie together.
[[nodiscard]] std::uint16_t slot_of(std::string_view key);

struct HostPort {
    std::string host;
    std::uint16_t port = 0;

    friend auto operator<=>(const HostPort&, const HostPort&) = default;
};

class SlotMap {
public:
    // The reply to CLUSTER SLOTS. A node that does not know its own host has `asked_host`. nullopt
    // when it is no such reply.
    [[nodiscard]] static std::optional<SlotMap> parse(const Reply& reply,
                                                      std::string_view asked_host);

    // The primary of the slot; null: nobody has it.
    [[nodiscard]] const HostPort* node_of(std::uint16_t slot) const;
    // What MOVED said.
    void move(std::uint16_t slot, const HostPort& node);
    [[nodiscard]] const std::vector<HostPort>& nodes() const { return nodes_; }
    [[nodiscard]] std::size_t slots_without_node() const;

private:
    static constexpr std::uint16_t kNobody = 0xffff;
    [[nodiscard]] std::uint16_t index_of(const HostPort& node);

    std::vector<HostPort> nodes_; // primaries
    std::array<std::uint16_t, kSlots> owners_;

    SlotMap() { owners_.fill(kNobody); }
};

// What an error reply asks the client to do. None of them is about a command that was executed.
struct Redirect {
    enum class Kind : std::uint8_t {
        none,       // an answer like any other
        moved,      // the slot is `node`'s: ask there, and remember it
        ask,        // only this once, with ASKING
        later,      // TRYAGAIN, CLUSTERDOWN: the cluster is busy with itself
        other_node, // LOADING, READONLY, MASTERDOWN: this server cannot, now
    };
    Kind kind = Kind::none;
    std::uint16_t slot = 0; // of moved and ask
    HostPort node = {};     // of moved and ask; an empty host is that of the node that said so
};

[[nodiscard]] Redirect redirect_of(const Reply& reply);

} // namespace doorbuster::redis
