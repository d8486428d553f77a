#include "base/error.h"

namespace doorbuster {
namespace {

class Category final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "doorbuster"; }
    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<Errc>(value)) {
        case Errc::unavailable: return "unavailable";
        case Errc::timeout: return "timed out";
        case Errc::conflict: return "changed by somebody else";
        case Errc::not_found: return "not found";
        case Errc::invalid: return "invalid";
        case Errc::wrong_state: return "not possible in this state";
        case Errc::locked: return "in use by another process";
        case Errc::too_new: return "written by a newer version";
        case Errc::foreign_log: return "the order log is not the store's";
        case Errc::lost_tail: return "acknowledged records are missing";
        case Errc::corrupt: return "corrupt";
        case Errc::io: return "input/output failed";
        case Errc::fenced: return "fenced by a newer process";
        }
        return "error " + std::to_string(value);
    }
};

} // namespace

const std::error_category& error_category() noexcept {
    static const Category category;
    return category;
}

std::string Error::message() const {
    if (context.empty()) return code.message();
    return context + " (" + code.message() + ")";
}

} // namespace doorbuster
