// require(): what must hold, whatever the input. Ends the process, so that the fuzzer keeps it.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

namespace doorbuster::fuzz {

inline void require(bool holds, const char* rule, const std::string& seen = {}) {
    if (holds) return;
    std::fprintf(stderr, "broken: %s\n%s\n", rule, seen.c_str());
    std::abort();
}

} // namespace doorbuster::fuzz
