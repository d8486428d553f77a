#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace doorbuster {

void assertion_failed(const char* expression, const char* file, int line) noexcept {
    std::fprintf(stderr, "doorbuster: bug: %s does not hold at %s:%d; stopping\n", expression, file,
                 line);
    std::abort();
}

} // namespace doorbuster
