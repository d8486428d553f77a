#include "engine/admission.h"

#include <gtest/gtest.h>
#include <memory>
#include <string>

namespace doorbuster {
namespace {

constexpr TimePoint kNoon{Duration(1'732'708'800'000)};
constexpr Fingerprinter kPrints(1, 2);

struct Shown {
    std::shared_ptr<SaleTerms> terms = std::make_shared<SaleTerms>();
    std::shared_ptr<StockSignals> signals = std::make_shared<StockSignals>(100);
    SaleView view;

    Shown() {
        terms->starts_at = kNoon;
        signals->remaining = 5;
        view.terms = terms;
        view.signals = signals;
    }
};

PurchaseRequest with_key(std::string_view key) {
    PurchaseRequest request;
    request.key = key;
    request.key_print = kPrints.of(key);
    return request;
}

PurchaseOutcome refusal_of(const SaleView& view, TimePoint now = kNoon) {
    const auto refusal = refuse_by_sale(view, now);
    return refusal ? refusal->reason : PurchaseOutcome::accepted;
}

TEST(Admission, LetsARequestAskOnWhileTheSaleIsOpenAndHasStock) {
    const Shown sale;
    EXPECT_FALSE(refuse_by_sale(sale.view, kNoon));
}

TEST(Admission, SaysClosedThenNotStartedThenPausedThenSoldOut) {
    Shown sale;
    sale.signals->remaining = 0;
    EXPECT_EQ(refusal_of(sale.view), PurchaseOutcome::sold_out);
    sale.terms->paused = true;
    EXPECT_EQ(refusal_of(sale.view), PurchaseOutcome::paused);
    EXPECT_EQ(refusal_of(sale.view, kNoon - Duration(1)), PurchaseOutcome::not_started);
    sale.terms->closed_at = kNoon;
    EXPECT_EQ(refusal_of(sale.view, kNoon - Duration(1)), PurchaseOutcome::closed);
}

TEST(Admission, SaysOfAColdSaleWhatItsTermsSayElseUnavailable) {
    Shown sale;
    sale.view.signals = nullptr;
    EXPECT_EQ(refusal_of(sale.view), PurchaseOutcome::unavailable);
    sale.terms->closed_at = kNoon;
    EXPECT_EQ(refusal_of(sale.view), PurchaseOutcome::closed);
}

TEST(Admission, RulesOutNoKeyThatMayBeBound) {
    Shown sale;
    EXPECT_FALSE(may_be_bound(sale.view, with_key("")));
    EXPECT_FALSE(may_be_bound(sale.view, with_key("k")));
    sale.signals->keys.add(kPrints.of("k"));
    EXPECT_TRUE(may_be_bound(sale.view, with_key("k")));
    sale.view.signals = nullptr; // nobody knows
    EXPECT_TRUE(may_be_bound(sale.view, with_key("other")));
}

} // namespace
} // namespace doorbuster
