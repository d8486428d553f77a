// The store's sessions, shared by the threads that block on it.
#pragma once

#include <atomic>
#include <cstddef>

#include "adapters/sql/order_store.h"
#include "adapters/sql/session.h"

namespace doorbuster::sql {

class SqlOrderStore::Pool {
public:
    explicit Pool(std::size_t size) : pool_(size), size_(size) {}

    [[nodiscard]] soci::session& at(std::size_t i) { return pool_.at(i); }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] SharedWrites& writes() { return writes_; }
    [[nodiscard]] std::size_t in_use() const { return in_use_.load(std::memory_order_relaxed); }

private:
    friend class SqlOrderStore::Lease;
    soci::connection_pool pool_;
    SharedWrites writes_;
    std::size_t size_;
    std::atomic<std::size_t> in_use_{0};
};

// One session, until the end of the scope. Waits for one; there are as many blocking threads as
// sessions, so that nobody waits long.
class SqlOrderStore::Lease {
public:
    explicit Lease(Pool& pool) : pool_(pool), session_(pool.pool_) { ++pool_.in_use_; }
    ~Lease() { --pool_.in_use_; }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    [[nodiscard]] soci::session& operator*() { return session_; }
    [[nodiscard]] SharedWrites& writes() { return pool_.writes_; }

private:
    Pool& pool_;
    soci::session session_;
};

} // namespace doorbuster::sql
