// DB_ASSERT: a bug stops the process, in release too; it recovers by replay at the next start.
#pragma once

namespace doorbuster {

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line) noexcept;

} // namespace doorbuster

#define DB_ASSERT(expression)                                                                      \
    (static_cast<bool>(expression)                                                                 \
         ? static_cast<void>(0)                                                                    \
         : ::doorbuster::assertion_failed(#expression, __FILE__, __LINE__))
