#include "base/fingerprint.h"

#include <bit>
#include <cstring>

namespace doorbuster {
namespace {

struct SipState {
    std::uint64_t v0, v1, v2, v3;

    void round() {
        v0 += v1;
        v1 = std::rotl(v1, 13) ^ v0;
        v0 = std::rotl(v0, 32);
        v2 += v3;
        v3 = std::rotl(v3, 16) ^ v2;
        v0 += v3;
        v3 = std::rotl(v3, 21) ^ v0;
        v2 += v1;
        v1 = std::rotl(v1, 17) ^ v2;
        v2 = std::rotl(v2, 32);
    }
    void absorb(std::uint64_t word) {
        v3 ^= word;
        round();
        round();
        v0 ^= word;
    }
    std::uint64_t squeeze() {
        for (int i = 0; i < 4; ++i) round();
        return v0 ^ v1 ^ v2 ^ v3;
    }
};

std::uint64_t load_le(const char* bytes, std::size_t count) {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, count);
    return word;
}

Fingerprint finish(SipState state, std::string_view text, std::uint64_t length_so_far) {
    const std::uint64_t total = length_so_far + text.size();
    while (text.size() >= 8) {
        state.absorb(load_le(text.data(), 8));
        text.remove_prefix(8);
    }
    state.absorb(load_le(text.data(), text.size()) | (total << 56));
    Fingerprint out;
    state.v2 ^= 0xee;
    out.low = state.squeeze();
    state.v1 ^= 0xdd;
    out.high = state.squeeze();
    return out;
}

SipState start(std::uint64_t key0, std::uint64_t key1) {
    // The constants spell "somepseudorandomlygeneratedbytes"; 0xee marks the 128-bit variant.
    return {key0 ^ 0x736f6d6570736575U, key1 ^ 0x646f72616e646f6dU ^ 0xeeU,
            key0 ^ 0x6c7967656e657261U, key1 ^ 0x7465646279746573U};
}

} // namespace

Fingerprint Fingerprinter::of(std::string_view text) const {
    return finish(start(key0_, key1_), text, 0);
}

Fingerprint Fingerprinter::of(const Fingerprint& first, std::string_view second) const {
    SipState state = start(key0_, key1_);
    state.absorb(first.low);
    state.absorb(first.high);
    return finish(state, second, 16);
}

} // namespace doorbuster
