#include "adapters/http/views.h"

#include <gtest/gtest.h>
#include <memory>

namespace doorbuster::http {
namespace {

constexpr TimePoint kNow{};

StoredSale stored(Units stock, Units sold) {
    StoredSale sale;
    sale.terms.id = "rush";
    sale.terms.title = "Rush";
    sale.terms.stock = stock;
    sale.sold = sold;
    return sale;
}

bool says(const std::string& json, const std::string& part) {
    return json.find(part) != std::string::npos;
}

TEST(SaleOfAList, IsShownFromTheStoreAsLongAsItsStockIsNotCounted) {
    const StoredSale sale = stored(10, 4);
    SaleView cold;
    cold.terms = std::make_shared<const SaleTerms>(sale.terms);
    for (const SaleView* live : {static_cast<const SaleView*>(nullptr), &std::as_const(cold)}) {
        const std::string json = sale_json(sale, live, kNow);
        EXPECT_TRUE(says(json, R"("id":"rush")")) << json;
        EXPECT_TRUE(says(json, R"("remaining":6)")) << json;
        EXPECT_TRUE(says(json, R"("sold_out":false)")) << json;
    }
    EXPECT_TRUE(says(sale_json(stored(4, 4), nullptr, kNow), R"("sold_out":true)"));
}

TEST(SaleOfAList, IsShownAsItsBuyersSeeItOnceItsStockIsCounted) {
    const StoredSale sale = stored(10, 4); // the writer is behind
    SaleView live;
    live.terms = std::make_shared<const SaleTerms>(sale.terms);
    auto signals = std::make_shared<StockSignals>(1);
    signals->remaining = 2;
    live.signals = signals;
    EXPECT_TRUE(says(sale_json(sale, &live, kNow), R"("remaining":2)"));
}

} // namespace
} // namespace doorbuster::http
