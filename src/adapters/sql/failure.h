// What SOCI and its drivers throw, as Errors. Included by this adapter only.
#pragma once

#include <soci/mysql/soci-mysql.h>
#include <soci/postgresql/soci-postgresql.h>
#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>

#include <string>
#include <type_traits>
#include <utility>

#include "adapters/sql/store_url.h"
#include "base/result.h"

namespace doorbuster::sql {

// What this adapter throws itself, where it runs inside of what SOCI runs in.
class StoreFailure : public soci::soci_error {
public:
    StoreFailure(Errc kind, const std::string& what) : soci::soci_error(what), kind_(kind) {}
    [[nodiscard]] Errc kind() const { return kind_; }

private:
    Errc kind_;
};

// conflict: a constraint, or a value that its column does not take; unavailable: try again later.
[[nodiscard]] Errc kind_of(const soci::soci_error& failure);
// Was the transaction a victim (deadlock, serialization), so that the same may work at once?
[[nodiscard]] bool is_victim(const soci::soci_error& failure);
// Is the connection gone, or to a server that does not write any more?
[[nodiscard]] bool is_disconnection(const soci::soci_error& failure);

// Names the store and what was being done; shows neither the statement, which may name buyers, nor
// the password.
[[nodiscard]] Error error_of(const soci::soci_error& failure, const StoreUrl& store,
                             const char* doing);

// Runs `f` and turns what SOCI throws into an Error that says what was being done. Nothing of
// SOCI's exceptions leaves the adapter.
template <class F> std::invoke_result_t<F&> guarded(const StoreUrl& store, const char* doing, F f) {
    try {
        return f();
    } catch (const soci::soci_error& failure) {
        return tl::make_unexpected(error_of(failure, store, doing));
    }
}

} // namespace doorbuster::sql
