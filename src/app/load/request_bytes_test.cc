#include "app/load/request_bytes.h"

#include <gtest/gtest.h>

namespace doorbuster::load {
namespace {

TEST(RequestBytes, CarryTheBuyerAndTheQuantity) {
    RequestBytes bytes({.authority = "127.0.0.1:8080",
                        .path = "/v1/sales/demo/purchases",
                        .user_prefix = "buyer-",
                        .buyers = 20'000});
    EXPECT_EQ(bytes.for_attempt({.buyer = 42, .quantity = 1}),
              "POST /v1/sales/demo/purchases HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
              "Content-Type: application/json\r\nContent-Length: 14\r\n"
              "X-User-Id: buyer-000042\r\n\r\n{\"quantity\":1}");
    EXPECT_EQ(bytes.user_id(), "buyer-000042");
    EXPECT_TRUE(bytes.for_attempt({.buyer = 20'000, .quantity = 3}).ends_with("{\"quantity\":3}"));
    EXPECT_EQ(bytes.user_id(), "buyer-020000");
}

TEST(RequestBytes, KeepTheirLengthWhateverTheNumbers) {
    RequestBytes bytes({.authority = "a",
                        .path = "/p",
                        .user_prefix = "x",
                        .buyers = 12'345'678,
                        .quantity_max = 100,
                        .keys = true});
    const std::string first(bytes.for_attempt({.buyer = 7, .quantity = 5}));
    EXPECT_NE(first.find("X-User-Id: x00000007\r\nIdempotency-Key: load-00000007\r\n"),
              std::string::npos);
    EXPECT_TRUE(first.ends_with("{\"quantity\":5  }"));
    const std::string second(bytes.for_attempt({.buyer = 12'345'678, .quantity = 100}));
    EXPECT_NE(second.find("Idempotency-Key: load-12345678\r\n"), std::string::npos);
    EXPECT_TRUE(second.ends_with("{\"quantity\":100}"));
    EXPECT_EQ(first.size(), second.size());
}

} // namespace
} // namespace doorbuster::load
