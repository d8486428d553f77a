#include "adapters/redis/slots.h"

#include <algorithm>
#include <charconv>
#include <limits>

namespace doorbuster::redis {
namespace {

constexpr std::array<std::uint16_t, 256> make_crc_table() {
    std::array<std::uint16_t, 256> table{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        std::uint32_t crc = byte << 8;
        for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000U) ? (crc << 1) ^ 0x1021U : crc << 1;
        table[byte] = static_cast<std::uint16_t>(crc);
    }
    return table;
}

constexpr std::array<std::uint16_t, 256> kCrcTable = make_crc_table();

std::uint16_t crc16(std::string_view bytes) {
    std::uint32_t crc = 0;
    for (const char c : bytes) {
        const auto byte = static_cast<std::uint8_t>(c);
        crc = ((crc << 8) & 0xffffU) ^ kCrcTable[((crc >> 8) ^ byte) & 0xffU];
    }
    return static_cast<std::uint16_t>(crc);
}

std::optional<std::uint16_t> port_of(std::int64_t number) {
    if (number < 1 || number > std::numeric_limits<std::uint16_t>::max()) return std::nullopt;
    return static_cast<std::uint16_t>(number);
}

std::optional<std::uint16_t> read_number(std::string_view text) {
    std::uint16_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

// "MOVED 3999 127.0.0.1:6381": the slot, and the node behind the last colon (IPv6 has no brackets).
std::optional<Redirect> read_target(std::string_view text, Redirect::Kind kind) {
    const std::size_t space = text.find(' ');
    if (space == std::string_view::npos) return std::nullopt;
    const auto slot = read_number(text.substr(0, space));
    const std::string_view node = text.substr(space + 1);
    const std::size_t colon = node.rfind(':');
    if (!slot || *slot >= kSlots || colon == std::string_view::npos) return std::nullopt;
    const auto port = read_number(node.substr(colon + 1));
    if (!port || *port == 0) return std::nullopt;
    Redirect out;
    out.kind = kind;
    out.slot = *slot;
    out.node.host = node.substr(0, colon);
    out.node.port = *port;
    if (out.node.host == "?") out.node.host.clear(); // an unknown host, as Redis 7 writes it
    return out;
}

// Before Redis 7 a script's own words come first.
bool says_readonly(const Reply& reply) {
    return reply.is_error("READONLY") ||
           (reply.is_error("ERR") && reply.text.starts_with("ERR Error running script") &&
            reply.text.find("-READONLY ") != std::string::npos);
}

} // namespace

std::uint16_t slot_of(std::string_view key) {
    const std::size_t open = key.find('{');
    if (open != std::string_view::npos) {
        const std::size_t close = key.find('}', open + 1);
        if (close != std::string_view::npos && close > open + 1) {
            key = key.substr(open + 1, close - open - 1);
        }
    }
    return crc16(key) % kSlots;
}

std::optional<SlotMap> SlotMap::parse(const Reply& reply, std::string_view asked_host) {
    if (!reply.is(Reply::Kind::array)) return std::nullopt;
    SlotMap map;
    for (const Reply& range : reply.items) {
        if (!range.is(Reply::Kind::array) || range.items.size() < 3) return std::nullopt;
        const Reply& first = range.items[0];
        const Reply& last = range.items[1];
        const Reply& primary = range.items[2];
        if (!first.is(Reply::Kind::integer) || !last.is(Reply::Kind::integer) ||
            first.integer < 0 || last.integer >= kSlots || first.integer > last.integer ||
            !primary.is(Reply::Kind::array) || primary.items.size() < 2) {
            return std::nullopt;
        }
        const auto port = port_of(primary.items[1].integer);
        if (!port) return std::nullopt;
        HostPort node{primary.items[0].text, *port}; // a host of nil or "" or "?" is not known
        if (node.host.empty() || node.host == "?") node.host = asked_host;
        const std::uint16_t index = map.index_of(node);
        if (index == kNobody) return std::nullopt;
        std::fill(map.owners_.begin() + first.integer, map.owners_.begin() + last.integer + 1,
                  index);
    }
    return map;
}

std::uint16_t SlotMap::index_of(const HostPort& node) {
    const auto at = std::ranges::find(nodes_, node);
    if (at != nodes_.end()) return static_cast<std::uint16_t>(at - nodes_.begin());
    if (nodes_.size() == kNodesMax) return kNobody;
    nodes_.push_back(node);
    return static_cast<std::uint16_t>(nodes_.size() - 1);
}

const HostPort* SlotMap::node_of(std::uint16_t slot) const {
    const std::uint16_t index = owners_[slot];
    return index == kNobody ? nullptr : &nodes_[index];
}

void SlotMap::move(std::uint16_t slot, const HostPort& node) { owners_[slot] = index_of(node); }

std::size_t SlotMap::slots_without_node() const {
    return static_cast<std::size_t>(std::ranges::count(owners_, kNobody));
}

Redirect redirect_of(const Reply& reply) {
    Redirect out;
    if (!reply.is_error()) return out;
    const std::string_view text = reply.text;
    if (text.starts_with("MOVED ")) {
        return read_target(text.substr(6), Redirect::Kind::moved).value_or(out);
    }
    if (text.starts_with("ASK ")) {
        return read_target(text.substr(4), Redirect::Kind::ask).value_or(out);
    }
    if (reply.is_error("TRYAGAIN") || reply.is_error("CLUSTERDOWN")) {
        out.kind = Redirect::Kind::later;
    } else if (reply.is_error("LOADING") || reply.is_error("MASTERDOWN") || says_readonly(reply)) {
        out.kind = Redirect::Kind::other_node;
    }
    return out;
}

} // namespace doorbuster::redis
