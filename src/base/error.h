// Error: why something outside the program failed. A value; copied between threads freely.
// Refusals ("sold out") are answers, not errors: see domain/purchase.h. Bugs are DB_ASSERT.
#pragma once

#include <string>
#include <system_error>

namespace doorbuster {

// What a caller can do about an error; the text for people is in Error::context.
enum class Errc {
    unavailable = 1, // a backend is down or a queue is full: try again later
    timeout,         // a deadline passed; the outcome may be unknown
    conflict,        // somebody else changed it first
    not_found,
    invalid,     // the input or the configuration is wrong
    wrong_state, // not possible in the state that the thing is in
    locked,      // another process owns the data folder
    too_new,     // written by a newer version of doorbuster
    foreign_log, // the order log is not the one that the store names
    lost_tail,   // acknowledged records are missing at the end of the order log
    corrupt,     // a checksum does not match
    io,          // the disk or the network failed
    fenced,      // a newer process has taken over
};

const std::error_category& error_category() noexcept;

inline std::error_code make_error_code(Errc code) noexcept {
    return {static_cast<int>(code), error_category()};
}

struct Error {
    std::error_code code;
    std::string context; // what was being done, to what; empty when the code says it all

    [[nodiscard]] std::string message() const;
    [[nodiscard]] bool is(Errc which) const { return code == make_error_code(which); }
};

} // namespace doorbuster

template <> struct std::is_error_code_enum<doorbuster::Errc> : std::true_type {};
