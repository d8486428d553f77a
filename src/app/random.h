// Randomness for ids, keys and seeds, from OpenSSL's generator. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace doorbuster {

[[nodiscard]] std::uint64_t random_number();
// `words` times 16 hexadecimal digits.
[[nodiscard]] std::string random_hex(std::size_t words);

} // namespace doorbuster
