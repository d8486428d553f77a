// What the tests' fixture keeps away from SOCI's headers: scratch stores.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <unistd.h>

#include "adapters/sql/session.h"
#include "adapters/sql/store_fixture.h"

namespace doorbuster::sql::fixture {

const char* server_of(Dialect dialect) {
    switch (dialect) {
    case Dialect::sqlite: break;
    case Dialect::postgresql: return std::getenv("DOORBUSTER_TEST_POSTGRESQL");
    case Dialect::mysql: return std::getenv("DOORBUSTER_TEST_MYSQL");
    }
    return nullptr;
}

std::string name_of(Dialect dialect) {
    switch (dialect) {
    case Dialect::sqlite: return "sqlite";
    case Dialect::postgresql: return "postgresql";
    case Dialect::mysql: return "mysql";
    }
    return "";
}

ScratchStore::ScratchStore(Dialect dialect) : dialect_(dialect) {
    std::random_device random;
    name_ = "doorbuster_" + std::to_string(::getpid()) + "_" + std::to_string(random());
    if (dialect_ == Dialect::sqlite) {
        folder_ = (std::filesystem::temp_directory_path() / name_).string();
        std::filesystem::create_directory(folder_);
        url_ = "sqlite:" + path();
        return;
    }
    server_ = server_of(dialect_);
    const std::size_t query = std::min(server_.find('?'), server_.size());
    if (dialect_ == Dialect::postgresql) {
        run_on_server("CREATE SCHEMA " + name_);
        const char* separator = query == server_.size() ? "?" : "&";
        url_ = server_ + separator + "options=-csearch_path%3D" + name_;
    } else {
        run_on_server("CREATE DATABASE " + name_);
        url_ = server_.substr(0, server_.rfind('/', query) + 1) + name_ + server_.substr(query);
    }
}

ScratchStore::~ScratchStore() {
    std::error_code ignored;
    try {
        switch (dialect_) {
        case Dialect::sqlite: std::filesystem::remove_all(folder_, ignored); break;
        case Dialect::postgresql: run_on_server("DROP SCHEMA " + name_ + " CASCADE"); break;
        case Dialect::mysql: run_on_server("DROP DATABASE " + name_); break;
        }
    } catch (const soci::soci_error& failure) {
        ADD_FAILURE() << failure.what();
    }
}

std::unique_ptr<SqlOrderStore> ScratchStore::open(OrderStoreOptions options) const {
    options.url = url_;
    auto store = SqlOrderStore::open(options);
    if (!store) {
        ADD_FAILURE() << store.error().message();
        std::abort();
    }
    if (options.mode == StoreMode::serve) {
        EXPECT_TRUE((*store)->adopt().has_value());
    }
    return std::move(*store);
}

std::unique_ptr<SqlOrderStore> ScratchStore::open(StoreMode mode) const {
    OrderStoreOptions options;
    options.mode = mode;
    return open(options);
}

std::unique_ptr<SqlOrderStore> ScratchStore::open_bound(OrderStoreOptions options) const {
    auto store = open(std::move(options));
    EXPECT_TRUE(store->bind_log("log-1").has_value());
    return store;
}

void ScratchStore::run_sql(const std::string& sql) const {
    Session session(*parse_store_url(url_), SessionOptions());
    session.open();
    session.soci() << sql;
}

std::int64_t ScratchStore::number(const std::string& sql) const {
    Session session(*parse_store_url(url_), SessionOptions());
    session.open();
    Integer number = 0;
    session.soci() << sql, soci::into(number);
    return number;
}

void ScratchStore::clear() const {
    Session session(*parse_store_url(url_), SessionOptions());
    session.open();
    for (const char* table : {"order_log", "log_positions", "sales", "orders", "dead_letters",
                              "sale_changes", "give_backs", "withdrawals", "sale_journal"}) {
        session.soci() << std::string("DELETE FROM ") + table;
    }
}

void ScratchStore::run_on_server(const std::string& sql) const {
    Session session(*parse_store_url(server_), SessionOptions());
    session.open();
    session.soci() << sql;
}

} // namespace doorbuster::sql::fixture
