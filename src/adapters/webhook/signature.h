// Signatures of messages, as the Standard Webhooks specification 1.0.0 says
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md). Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace doorbuster::webhook {

// The specification's bounds for the bytes of a secret.
inline constexpr std::size_t kSecretBytesMin = 24;
inline constexpr std::size_t kSecretBytesMax = 64;
// A rotation needs two at a time; each one lengthens the signature's header.
inline constexpr std::size_t kSecretsMax = 4;

using SigningKey = std::string; // the secret's bytes

// The keys of "whsec_<base64>", or of several such secrets with spaces between: each signs every
// message, so that a receiver can change over to the next one. Errc::invalid says what a secret
// looks like and how to make one, and repeats nothing of the text.
[[nodiscard]] Result<std::vector<SigningKey>> parse_secrets(std::string_view text);

// The value of webhook-signature: "v1,<base64>" of each key, with spaces between. `timestamp_s` is
// the Unix time that webhook-timestamp says.
[[nodiscard]] std::string sign(const std::vector<SigningKey>& keys, std::string_view id,
                               std::int64_t timestamp_s, std::string_view body);

} // namespace doorbuster::webhook
