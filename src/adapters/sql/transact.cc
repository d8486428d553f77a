#include "adapters/sql/transact.h"

#include <chrono>
#include <random>
#include <thread>

namespace doorbuster::sql {

void back_off(int attempts) {
    thread_local std::minstd_rand random{std::random_device{}()};
    const int base_ms = 10 << (attempts - 1);
    std::uniform_int_distribution<int> jitter(base_ms / 2, base_ms);
    std::this_thread::sleep_for(std::chrono::milliseconds(jitter(random)));
}

} // namespace doorbuster::sql
