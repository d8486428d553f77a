#include "app/random.h"

#include <openssl/rand.h>

#include <array>
#include <cstdio>
#include <cstdlib>

namespace doorbuster {

std::uint64_t random_number() {
    std::uint64_t number = 0;
    // Fails only without any source of randomness; then nothing here is safe.
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&number), sizeof number) != 1) std::abort();
    return number;
}

std::string random_hex(std::size_t words) {
    std::string text;
    for (std::size_t i = 0; i < words; ++i) {
        std::array<char, 17> hex{};
        std::snprintf(hex.data(), hex.size(), "%016llx",
                      static_cast<unsigned long long>(random_number()));
        text += hex.data();
    }
    return text;
}

} // namespace doorbuster
