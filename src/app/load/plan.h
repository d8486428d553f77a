// AttemptPlan: who tries to buy what, in which order. Buyers' attempts come in a random order
// among each other, which needs no memory: a seeded permutation of the numbers of all attempts.
// Immutable; any thread.
#pragma once

#include <array>
#include <cstdint>

#include "domain/ids.h"

namespace doorbuster::load {

// A bijection of 0 .. size-1, drawn by `seed`. It scrambles the bits of the next power of two by
// steps that each can be undone (odd multiplication, addition, xor with a right shift) and walks
// on while it is outside of `size`, which takes less than two steps on average.
class Permutation {
public:
    Permutation(std::uint64_t size, std::uint64_t seed);
    [[nodiscard]] std::uint64_t at(std::uint64_t index) const;

private:
    static constexpr int kRounds = 4;

    struct Round {
        std::uint64_t factor = 1; // odd
        std::uint64_t summand = 0;
    };
    std::uint64_t size_;
    std::uint64_t mask_;
    int shift_;
    std::array<Round, kRounds> rounds_;
};

struct Attempt {
    std::uint64_t buyer = 0; // 1 to buyers
    Units quantity = 1;
};

struct PlanShape {
    std::uint64_t buyers = 1;
    std::uint64_t attempts_per_buyer = 1;
    Units quantity_min = 1;
    Units quantity_max = 1;
    bool same_quantity_per_buyer = false; // with keys: a key is bound to one quantity
    std::uint64_t seed = 1;
};

class AttemptPlan {
public:
    explicit AttemptPlan(const PlanShape& shape);

    [[nodiscard]] std::uint64_t size() const { return shape_.buyers * shape_.attempts_per_buyer; }
    [[nodiscard]] Attempt at(std::uint64_t index) const;

private:
    PlanShape shape_;
    Permutation order_;
};

} // namespace doorbuster::load
