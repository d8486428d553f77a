// Brings a rebuilt sale into Redis: the holders, the orders and the keys are staged beside the sale
// in small parts, so that Redis serves others meanwhile, and then put in its place in one step.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "adapters/redis/inventory_scripts.h"
#include "adapters/redis/sale_calls.h"
#include "ports/inventory.h"

namespace doorbuster::redis {

// One attempt to install one image. Belongs to the core of `calls`.
class ImageInstall {
public:
    // `attempt` is no other's, of any process: it is part of the staged keys' names.
    ImageInstall(SaleCalls& calls, const InventoryScripts& scripts, const std::string& prefix,
                 const SaleImage& image, std::uint64_t attempt);

    // How the sale stands then; nullopt when a later rebuild has begun, or the mark of this one is
    // gone: nothing was changed. What was staged and is not needed is thrown away.
    Task<Result<std::optional<SaleStatus>>> run();

private:
    enum Part : std::size_t { users, orders, keys, kParts };
    struct Entry {
        std::string field;
        std::string value;
    };
    struct Line; // of one user's orders
    enum class Staged : std::uint8_t { yes, overtaken };

    Task<Result<Staged>> stage_all();
    Task<Result<Staged>> stage_holds();
    Task<Result<Staged>> stage_keys();
    // Sends the entries, which are `part`'s, once there are enough of them, or all the same.
    enum class When : std::uint8_t { enough, now };
    Task<Result<Staged>> stage(Part part, std::vector<std::string>& entries, When when);
    Task<Result<SaleCalls::Answer>> swap_in();
    Task<void> drop();

    SaleCalls& calls_;
    const InventoryScripts& scripts_;
    const SaleImage& image_;
    const std::string epoch_;
    const std::array<std::string, kParts> staged_; // their names
    std::array<std::size_t, kParts> counts_{};     // how many entries they must have
    Units held_ = 0;
};

} // namespace doorbuster::redis
