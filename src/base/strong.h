// Strong: an integer that only mixes with its own kind. No thread owns it; it is a value.
#pragma once

#include <compare>
#include <concepts>
#include <cstddef>
#include <functional>

namespace doorbuster {

template <class Tag, std::integral Rep> class Strong {
public:
    using rep = Rep;

    constexpr Strong() = default;
    constexpr explicit Strong(Rep value) : value_(value) {}

    [[nodiscard]] constexpr Rep get() const { return value_; }
    [[nodiscard]] constexpr Strong next() const { return Strong(static_cast<Rep>(value_ + 1)); }
    [[nodiscard]] constexpr Strong plus(Rep n) const {
        return Strong(static_cast<Rep>(value_ + n));
    }

    friend constexpr auto operator<=>(Strong, Strong) = default;

private:
    Rep value_{};
};

} // namespace doorbuster

template <class Tag, std::integral Rep> struct std::hash<doorbuster::Strong<Tag, Rep>> {
    std::size_t operator()(doorbuster::Strong<Tag, Rep> value) const noexcept {
        return std::hash<Rep>{}(value.get());
    }
};
