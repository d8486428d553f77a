#include "runtime/core.h"

#include "base/assert.h"

namespace doorbuster {

Cores::Cores(std::size_t count) {
    DB_ASSERT(count > 0);
    cores_.reserve(count);
    work_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        cores_.push_back(std::make_unique<Core>(i));
        work_.emplace_back(cores_.back()->executor());
    }
}

Cores::~Cores() { stop(); }

void Cores::start() {
    DB_ASSERT(threads_.empty());
    for (auto& core : cores_) {
        threads_.emplace_back([context = &core->context()] { context->run(); });
    }
}

void Cores::stop() {
    for (auto& core : cores_) core->context().stop();
    for (auto& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
    threads_.clear();
}

} // namespace doorbuster
