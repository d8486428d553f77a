// The SQLite log against the contract of every order log.
#include <gtest/gtest.h>
#include <optional>

#include "adapters/sqlite/log_fixture.h"
#include "engine/reader_feed.h"
#include "ports/order_log_contract.h"

namespace doorbuster::sqlite {
namespace {

class Subject final : public doorbuster::fixture::OrderLogSubject {
public:
    explicit Subject(std::uint64_t lag_max) : log_(fixture::options_for(folder_.path(), lag_max)) {
        feed_.start(LogPosition(1));
    }
    Cores& cores() override { return log_.cores(); }
    OrderLog& log() override { return *log_; }
    LogFeed& feed() override { return feed_; }
    void store_everything() override { log_->stored(log_->end()); }
    // Nobody but this connection can commit.
    void cut_off() override {
        other_.emplace(folder_.path());
        other_->run("BEGIN IMMEDIATE");
    }
    void come_back() override { other_->run("ROLLBACK"); }

private:
    fixture::TemporaryFolder folder_;
    fixture::LiveLog log_;
    ReaderFeed feed_{*log_};
    std::optional<fixture::OtherConnection> other_;
};

std::unique_ptr<doorbuster::fixture::OrderLogSubject> make(std::uint64_t lag_max) {
    return std::make_unique<Subject>(lag_max);
}

} // namespace
} // namespace doorbuster::sqlite

namespace doorbuster::fixture {

INSTANTIATE_TEST_SUITE_P(Sqlite, OrderLogContract, testing::Values(&sqlite::make));
INSTANTIATE_TEST_SUITE_P(Sqlite, OrderLogOutage, testing::Values(&sqlite::make));

} // namespace doorbuster::fixture
