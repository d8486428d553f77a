#include "app/load/plan.h"

#include <bit>

namespace doorbuster::load {
namespace {

// Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014: the mixing function.
std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

} // namespace

Permutation::Permutation(std::uint64_t size, std::uint64_t seed) : size_(size) {
    const int bits = size > 1 ? static_cast<int>(std::bit_width(size - 1)) : 1;
    mask_ = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    shift_ = bits / 2 + 1;
    std::uint64_t state = mix(seed);
    for (Round& round : rounds_) {
        state = mix(state);
        round.factor = state | 1;
        state = mix(state);
        round.summand = state;
    }
}

std::uint64_t Permutation::at(std::uint64_t index) const {
    std::uint64_t x = index;
    do {
        for (const Round& round : rounds_) {
            x = (x * round.factor + round.summand) & mask_;
            x ^= x >> shift_;
        }
    } while (x >= size_);
    return x;
}

AttemptPlan::AttemptPlan(const PlanShape& shape)
    : shape_(shape), order_(shape.buyers * shape.attempts_per_buyer, shape.seed) {}

Attempt AttemptPlan::at(std::uint64_t index) const {
    const std::uint64_t attempt = order_.at(index);
    Attempt out;
    out.buyer = attempt % shape_.buyers + 1;
    const auto choices = static_cast<std::uint64_t>(shape_.quantity_max - shape_.quantity_min) + 1;
    if (choices > 1) {
        const std::uint64_t drawn_by = shape_.same_quantity_per_buyer ? out.buyer : attempt;
        out.quantity = static_cast<Units>(mix(drawn_by ^ mix(shape_.seed)) % choices);
        out.quantity += shape_.quantity_min;
    } else {
        out.quantity = shape_.quantity_min;
    }
    return out;
}

} // namespace doorbuster::load
