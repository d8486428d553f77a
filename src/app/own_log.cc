#include "app/own_log.h"

#include <filesystem>
#include <string_view>
#include <system_error>

namespace doorbuster {
namespace {

constexpr std::string_view kDirect = "direct-";

} // namespace

Result<void> check_own_files(const std::string& folder, const std::string& store_path) {
    const bool has_store = std::filesystem::exists(store_path);
    const bool has_log = std::filesystem::exists(folder + "/log.db");
    if (has_store && !has_log) {
        auto store = sql::SqlOrderStore::open({store_path, 1, sql::StoreMode::read_only});
        if (!store) return tl::make_unexpected(std::move(store.error()));
        const auto binding = (*store)->log_binding();
        if (!binding) return tl::make_unexpected(binding.error());
        if (is_direct_log(binding->log_id)) {
            return fail(Errc::foreign_log,
                        "the store " + store_path + " was sold from without an order log (" +
                            binding->log_id +
                            "), by another purchase.strategy. Choose that one, or another store");
        }
        if (!binding->log_id.empty()) {
            return fail(Errc::foreign_log,
                        "the log " + folder + "/log.db is missing, and " + store_path +
                            " takes its orders from it. Put log.db (with its -wal file) back");
        }
    }
    std::error_code ignored;
    const bool has_mark = std::filesystem::file_size(folder + "/log.mark", ignored) > 0 && !ignored;
    if (has_log && has_mark && !has_store) {
        return fail(Errc::foreign_log, "the store " + store_path + " is missing, and the log " +
                                           folder +
                                           "/log.db belongs to it. Put it back, or move "
                                           "log.db and log.mark away to begin anew");
    }
    return {};
}

Result<LogPosition> bind_own_log(sql::SqlOrderStore& store, sqlite::SqliteOrderLog& log) {
    auto binding = store.log_binding();
    if (!binding) return tl::make_unexpected(std::move(binding.error()));
    if (binding->log_id.empty()) {
        if (log.end() > LogPosition(1)) {
            return fail(Errc::foreign_log,
                        "the log has records, and the store knows no log: they do not belong "
                        "together. Put the store of this log back, or move log.db and log.mark "
                        "away to begin anew");
        }
        if (auto bound = store.bind_log(log.id()); !bound) {
            return tl::make_unexpected(std::move(bound.error()));
        }
        return LogPosition(1);
    }
    if (binding->log_id != log.id()) {
        return fail(Errc::foreign_log, "the log is not the store's: the store takes its orders "
                                       "from log " +
                                           binding->log_id + ", this one is " + log.id() +
                                           ". Put the files of one data folder together again");
    }
    if (binding->next.at(kOnlyPartition) < log.first() ||
        binding->next.at(kOnlyPartition) > log.end()) {
        return fail(Errc::foreign_log,
                    "the log holds positions " + std::to_string(log.first().get()) + " to " +
                        std::to_string(log.end().get() - 1) + ", and the store is at " +
                        std::to_string(binding->next.at(kOnlyPartition).get()) +
                        ": one of them is an old copy. Restore both from the same moment");
    }
    return binding->next.at(kOnlyPartition);
}

bool is_direct_log(const std::string& log_id) { return log_id.starts_with(kDirect); }

Result<void> bind_direct_log(sql::SqlOrderStore& store, const std::string& random) {
    const auto binding = store.log_binding();
    if (!binding) return tl::make_unexpected(binding.error());
    if (is_direct_log(binding->log_id)) return {};
    if (binding->log_id.empty()) return store.bind_log(std::string(kDirect) + random);
    return fail(Errc::foreign_log, "the store takes its orders from log " + binding->log_id +
                                       ", and this purchase.strategy writes straight to the store. "
                                       "Name another store (store.url)");
}

} // namespace doorbuster
