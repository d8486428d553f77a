#include "adapters/redis/script.h"

#include <array>
#include <openssl/evp.h>

#include "base/assert.h"

namespace doorbuster::redis {

Script::Script(std::string_view text) : text_(text) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned int size = 0;
    DB_ASSERT(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) == 1);
    static constexpr std::string_view kDigits = "0123456789abcdef";
    for (unsigned int i = 0; i < size; ++i) {
        sha1_.push_back(kDigits[digest[i] >> 4]);
        sha1_.push_back(kDigits[digest[i] & 15U]);
    }
}

} // namespace doorbuster::redis
