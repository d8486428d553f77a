// Result: a value, or the Error that prevented it. Always looked at where it is returned.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "base/error.h"

namespace doorbuster {

template <class T> using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(std::error_code code, std::string context = {}) {
    return tl::unexpected<Error>(Error{code, std::move(context)});
}
[[nodiscard]] inline tl::unexpected<Error> fail(Errc code, std::string context = {}) {
    return fail(make_error_code(code), std::move(context));
}

} // namespace doorbuster
