// Who the bearer of a token is.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "domain/time.h"

namespace doorbuster {

// Used by one core at a time; each core has its own.
class TokenVerifier {
public:
    virtual ~TokenVerifier() = default;

    // The user whom the token names, or why it is not to be trusted.
    [[nodiscard]] virtual Result<std::string> verify(std::string_view token, TimePoint now) = 0;
};

} // namespace doorbuster
