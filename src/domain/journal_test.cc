#include "domain/journal.h"

#include <gtest/gtest.h>

namespace doorbuster {
namespace {

constexpr TimePoint kNoon{Duration(1'732'708'800'000)}; // 2024-11-27T12:00:00Z

SaleTerms terms() {
    SaleTerms terms;
    terms.no = SaleNo(3);
    terms.id = "demo";
    terms.title = "A \"demo\"";
    terms.stock = 1'000;
    terms.per_user_limit = 2;
    terms.starts_at = kNoon;
    terms.payment_timeout = Duration(90'000);
    return terms;
}

TEST(Journal, WritesAllTermsOfANewSaleAndNothingBeforeThem) {
    const auto [before, after] = changed_terms(nullptr, terms());
    EXPECT_EQ(before, "{}");
    EXPECT_EQ(after, R"({"title":"A \"demo\"","stock":1000,"per_user_limit":2,)"
                     R"("starts_at":"2024-11-27T12:00:00.000Z","ends_at":null,"price":null,)"
                     R"("currency":null,"payment_timeout_s":90,"paused":false,"closed_at":null})");
}

TEST(Journal, WritesOnlyWhatHasChanged) {
    const SaleTerms was = terms();
    SaleTerms is = was;
    is.stock = 990;
    is.paused = true;
    ++is.version; // not a term
    const auto [before, after] = changed_terms(&was, is);
    EXPECT_EQ(before, R"({"stock":1000,"paused":false})");
    EXPECT_EQ(after, R"({"stock":990,"paused":true})");
}

TEST(Journal, WritesNullForWhatHadNoValueOrHasNoneAnyMore) {
    SaleTerms open = terms();
    SaleTerms ended = open;
    ended.ends_at = kNoon + Duration(1'500);
    const auto [before, after] = changed_terms(&open, ended);
    EXPECT_EQ(before, R"({"ends_at":null})");
    EXPECT_EQ(after, R"({"ends_at":"2024-11-27T12:00:01.500Z"})");
    const auto back = changed_terms(&ended, open);
    EXPECT_EQ(back.first, after);
    EXPECT_EQ(back.second, before);
}

TEST(Journal, WritesNothingWhenNothingHasChanged) {
    const SaleTerms same = terms();
    const auto [before, after] = changed_terms(&same, same);
    EXPECT_EQ(before, "{}");
    EXPECT_EQ(after, "{}");
}

TEST(Journal, KnowsEveryTermThatCanChange) {
    const SaleTerms was = terms();
    SaleTerms is = was;
    is.title = "Other";
    is.stock = 1;
    is.per_user_limit = 1;
    is.starts_at += Duration(1'000);
    is.ends_at = kNoon;
    is.price = 995;
    is.currency = "EUR";
    is.payment_timeout = Duration(0);
    is.paused = true;
    is.closed_at = kNoon;
    const auto [before, after] = changed_terms(&was, is);
    EXPECT_EQ(after, R"({"title":"Other","stock":1,"per_user_limit":1,)"
                     R"("starts_at":"2024-11-27T12:00:01.000Z",)"
                     R"("ends_at":"2024-11-27T12:00:00.000Z","price":995,"currency":"EUR",)"
                     R"("payment_timeout_s":0,"paused":true,)"
                     R"("closed_at":"2024-11-27T12:00:00.000Z"})");
    EXPECT_EQ(before, changed_terms(nullptr, was).second);
}

} // namespace
} // namespace doorbuster
