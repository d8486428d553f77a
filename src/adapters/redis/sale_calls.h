// SaleCalls: the inventory's single calls about a sale, those that are not attempts. Each changes
// nothing when it is made twice, so one of unknown outcome is made again.
//
// Belongs to one core, as the Commands behind it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "adapters/redis/commands.h"
#include "adapters/redis/inventory_wire.h"
#include "runtime/clock.h"

namespace doorbuster::redis {

class SaleCalls {
public:
    // All outlive it. `prefix` is that of the keys' names.
    SaleCalls(Commands& commands, const Clock& clock, std::string prefix);

    // What a script answered: a status line or a word, and what stands behind it.
    struct Answer {
        std::string word;
        std::optional<SaleStatus> status; // where the word is a status line
        std::vector<Reply> items;         // behind it
    };
    // The keys are the sale's and then `more_keys`; the arguments the channel, the sale and then
    // `arguments`. What these refer to lives until this ends. Errc::unavailable: Redis is away, or
    // does not like it; Errc::timeout: nobody knows whether it was done.
    Task<Result<Answer>> run(const Script& script, SaleNo sale,
                             std::span<const std::string> arguments,
                             std::span<const std::string> more_keys);

private:
    Commands& commands_;
    const Clock& clock_;
    const std::string prefix_;
    const std::string channel_;
};

} // namespace doorbuster::redis
