// Fingerprint: 128 bits that stand for a text (a user, a user's key, an address) in the big maps,
// so that an entry has a fixed size however long the text is.
//
// SipHash-2-4 with 128-bit output (Aumasson, Bernstein, "SipHash: a fast short-input PRF", 2012)
// under a key drawn at process start: without the key nobody can aim at a collision, and among
// 10^9 texts one is met by accident with a probability of about 10^-21.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace doorbuster {

struct Fingerprint {
    std::uint64_t low = 0;
    std::uint64_t high = 0;

    friend constexpr auto operator<=>(const Fingerprint&, const Fingerprint&) = default;
};

// The bits are uniform already: a map takes them as they are.
struct FingerprintHash {
    using is_avalanching = void; // tells boost::unordered_flat_map not to mix again
    std::size_t operator()(const Fingerprint& f) const noexcept { return f.low; }
};

class Fingerprinter {
public:
    constexpr Fingerprinter(std::uint64_t key0, std::uint64_t key1) : key0_(key0), key1_(key1) {}

    [[nodiscard]] Fingerprint of(std::string_view text) const;
    // Of a pair: the texts cannot run into each other ("ab","c" differs from "a","bc").
    [[nodiscard]] Fingerprint of(const Fingerprint& first, std::string_view second) const;

private:
    std::uint64_t key0_;
    std::uint64_t key1_;
};

} // namespace doorbuster
