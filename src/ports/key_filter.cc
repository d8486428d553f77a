#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "ports/inventory.h"

namespace doorbuster {
namespace {

constexpr std::uint64_t kBitsPerKey = 12; // with four probes: 0.5 % to 0.9 % false "maybe"
constexpr std::size_t kGrowth = 4;        // few filters to ask, at most four times too much memory

} // namespace

struct KeyFilter::Segment {
    explicit Segment(std::size_t keys)
        : mask(std::bit_ceil<std::uint64_t>(keys * kBitsPerKey) - 1), words(mask / 64 + 1) {}

    void add(const Fingerprint& key) {
        for (std::uint64_t i = 0, bit = key.low; i < 4; ++i, bit += key.high | 1) {
            const std::uint64_t at = bit & mask;
            words[at / 64].fetch_or(1ULL << (at % 64), std::memory_order_release);
        }
    }
    [[nodiscard]] bool may_contain(const Fingerprint& key) const {
        for (std::uint64_t i = 0, bit = key.low; i < 4; ++i, bit += key.high | 1) {
            const std::uint64_t at = bit & mask;
            const std::uint64_t word = words[at / 64].load(std::memory_order_acquire);
            if ((word >> (at % 64) & 1) == 0) return false;
        }
        return true;
    }

    std::uint64_t mask;
    std::vector<std::atomic<std::uint64_t>> words;
};

KeyFilter::KeyFilter(std::size_t keys_expected) : capacity_(std::max(keys_expected, kKeysMin)) {}

KeyFilter::~KeyFilter() {
    for (auto& segment : segments_) delete segment.load();
}

void KeyFilter::add(const Fingerprint& key) {
    if (count_ == capacity_) {
        ++last_;
        DB_ASSERT(last_ < kSegmentsMax);
        capacity_ *= kGrowth;
        count_ = 0;
    }
    Segment* segment = segments_[last_].load(std::memory_order_relaxed);
    if (segment == nullptr) {
        segment = new Segment(capacity_);
        segments_[last_].store(segment, std::memory_order_release);
    }
    segment->add(key);
    ++count_;
}

bool KeyFilter::may_contain(const Fingerprint& key) const {
    for (const auto& slot : segments_) {
        const Segment* segment = slot.load(std::memory_order_acquire);
        if (segment == nullptr) return false;
        if (segment->may_contain(key)) return true;
    }
    return false;
}

} // namespace doorbuster
