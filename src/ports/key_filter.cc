#include <algorithm>
#include <bit>

#include "ports/inventory.h"

namespace doorbuster {
namespace {

constexpr std::uint64_t kBitsPerKey = 12;    // with four probes: 0.5 % to 0.9 % false "maybe"
constexpr std::uint64_t kBitsMin = 8 * 1024; // 1 KiB
constexpr std::uint64_t kBitsMax = 1ULL << 30;

} // namespace

KeyFilter::KeyFilter(std::size_t keys_expected)
    : mask_(std::bit_ceil(
                std::clamp<std::uint64_t>(keys_expected * kBitsPerKey, kBitsMin, kBitsMax)) -
            1),
      words_((mask_ + 1) / 64) {}

void KeyFilter::add(const Fingerprint& key) {
    for (std::uint64_t i = 0, bit = key.low; i < 4; ++i, bit += key.high | 1) {
        const std::uint64_t at = bit & mask_;
        words_[at / 64].fetch_or(1ULL << (at % 64), std::memory_order_release);
    }
}

bool KeyFilter::may_contain(const Fingerprint& key) const {
    for (std::uint64_t i = 0, bit = key.low; i < 4; ++i, bit += key.high | 1) {
        const std::uint64_t at = bit & mask_;
        const std::uint64_t word = words_[at / 64].load(std::memory_order_acquire);
        if ((word >> (at % 64) & 1) == 0) return false;
    }
    return true;
}

} // namespace doorbuster
