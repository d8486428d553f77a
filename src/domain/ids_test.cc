#include "domain/ids.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <set>
#include <string>

namespace doorbuster {
namespace {

constexpr std::int64_t kMillisecondsMax = (std::int64_t{1} << 48) - 1; // what an id has room for

OrderId any_id(SaleNo sale, TimePoint created_at) {
    return {sale, created_at, *rc::gen::arbitrary<std::uint16_t>(),
            *rc::gen::arbitrary<std::uint64_t>()};
}

SaleNo any_sale() { return SaleNo(*rc::gen::arbitrary<std::uint32_t>()); }

TimePoint any_time() {
    return TimePoint(Duration(*rc::gen::inRange<std::int64_t>(0, kMillisecondsMax + 1)));
}

RC_GTEST_PROP(OrderId, TellsItsSaleAndItsTimeAlsoAfterAWayThroughText, ()) {
    const SaleNo sale = any_sale();
    const TimePoint at = any_time();
    const OrderId id = any_id(sale, at);
    const auto read = OrderId::parse(id.text());
    RC_ASSERT(read.has_value());
    RC_ASSERT(*read == id);
    RC_ASSERT(OrderId::from_bytes(id.bytes().data()) == id);
    RC_ASSERT(id.text().size() == OrderId::kTextLength);
    RC_ASSERT(read->sale() == sale);
    RC_ASSERT(read->created_at() == at);
    RC_ASSERT(OrderIdHash{}(*read) == OrderIdHash{}(id));
}

RC_GTEST_PROP(OrderId, IsOrderedByTextAsByBytes, ()) {
    const SaleNo sale = any_sale();
    const OrderId a = any_id(sale, any_time());
    const OrderId b = any_id(*rc::gen::element(sale, any_sale()), any_time());
    RC_ASSERT((a < b) == (a.text() < b.text()));
    RC_ASSERT((a == b) == (a.text() == b.text()));
}

RC_GTEST_PROP(OrderId, OfASaleIsOrderedByTime, ()) {
    const SaleNo sale = any_sale();
    const TimePoint at = any_time();
    const TimePoint later = at + Duration(*rc::gen::inRange(1, 100'000));
    RC_PRE(later.time_since_epoch().count() <= kMillisecondsMax);
    RC_ASSERT(any_id(sale, at).text() < any_id(sale, later).text());
}

TEST(OrderId, IsKeptAtItsLimits) {
    const OrderId last(SaleNo(UINT32_MAX), TimePoint(Duration(kMillisecondsMax)), UINT16_MAX,
                       UINT64_MAX);
    EXPECT_EQ(last.text(), std::string(32, 'z'));
    EXPECT_EQ(OrderId().text(), std::string(32, '0'));
    EXPECT_EQ(OrderId::parse(std::string(32, 'z')), last);
}

TEST(OrderId, IsNotReadFromAnythingElse) {
    const std::string good = OrderId(SaleNo(7), TimePoint(Duration(1)), 2, 3).text();
    ASSERT_TRUE(OrderId::parse(good));
    EXPECT_FALSE(OrderId::parse(""));
    EXPECT_FALSE(OrderId::parse(good.substr(1)));
    EXPECT_FALSE(OrderId::parse(good + "0"));
    EXPECT_FALSE(OrderId::parse(good + std::string(1, '\0')));
    const std::string alphabet = "0123456789abcdefghjkmnpqrstvwxyz";
    for (std::size_t place = 0; place < good.size(); ++place) {
        for (int letter = 0; letter < 256; ++letter) {
            std::string text = good;
            text[place] = static_cast<char>(letter);
            const bool is_fine = alphabet.find(text[place]) != std::string::npos;
            ASSERT_EQ(OrderId::parse(text).has_value(), is_fine) << place << " " << letter;
        }
    }
}

TEST(OrderIdSource, NeverMakesOneIdTwiceEvenInOneMillisecond) {
    OrderIdSource one(1, 5);
    OrderIdSource two(2, 5);
    std::set<OrderId> ids;
    const TimePoint now{Duration(1'000)};
    for (int i = 0; i < 1'000; ++i) {
        ids.insert(one.make(SaleNo(1), now));
        ids.insert(two.make(SaleNo(1), now));
    }
    EXPECT_EQ(ids.size(), 2'000U);
}

TEST(SaleId, IsASlugOfUpTo63Characters) {
    for (const char* text : {"a", "0", "demo", "black-friday-2026", "a--b", "a-"}) {
        EXPECT_TRUE(is_sale_id(text)) << text;
    }
    EXPECT_TRUE(is_sale_id(std::string(63, 'a')));
    EXPECT_FALSE(is_sale_id(std::string(64, 'a')));
    for (const char* text : {"", "-", "-a", "A", "a_b", "a b", "a/b", "ä", "a.b", "a\n"}) {
        EXPECT_FALSE(is_sale_id(text)) << text;
    }
    EXPECT_FALSE(is_sale_id(std::string("a\0b", 3)));
}

TEST(UserId, IsOneTo128PrintableCharacters) {
    for (const char* text :
         {"u", "0", "a b", "user@example.com", "Zoë", "\xc2\xa0 nbsp is printable", "ÿ", "漢字",
          "\xed\x9f\xbf", "\xee\x80\x80", "\xf0\x9f\x8e\x89", "\xf4\x8f\xbf\xbf", "'; drop--"}) {
        EXPECT_TRUE(is_user_id(text)) << text;
    }
    std::string longest;
    for (int i = 0; i < 128; ++i) longest += "\xf0\x9f\x8e\x89"; // characters count, not bytes
    EXPECT_TRUE(is_user_id(longest));
    EXPECT_FALSE(is_user_id(longest + "a"));
    EXPECT_TRUE(is_user_id(std::string(128, 'a')));
    EXPECT_FALSE(is_user_id(std::string(129, 'a')));
}

TEST(UserId, HasNoSpacesAtItsEnds) {
    for (const char* text : {"", " ", " a", "a ", "  "}) EXPECT_FALSE(is_user_id(text)) << text;
}

TEST(UserId, HasNoControlCharacters) {
    for (int letter = 0; letter < 0x20; ++letter) {
        EXPECT_FALSE(is_user_id(std::string("a") + static_cast<char>(letter) + "b")) << letter;
    }
    EXPECT_FALSE(is_user_id("a\x7f"));
    for (int letter = 0x80; letter < 0xa0; ++letter) { // U+0080 to U+009F
        EXPECT_FALSE(is_user_id(std::string("a\xc2") + static_cast<char>(letter))) << letter;
    }
}

TEST(UserId, IsWellFormedUtf8) {
    for (const char* text :
         {"\x80", "\xbf", "a\xc3", "\xc3(", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\xaf", "\xe0\x9f\xbf",
          "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf",
          "\xf0\x9f\x8e", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe",
          "\xff"}) {
        EXPECT_FALSE(is_user_id(text)) << testing::PrintToString(text);
    }
}

TEST(IdempotencyKey, IsOneTo255PrintableCharacters) {
    for (const char* text :
         {"3f2a-\"quoted\" ~", "Zoë", "漢字", "\xf0\x9f\x8e\x89", " ", " a  b "}) {
        EXPECT_TRUE(is_idempotency_key(text)) << text;
    }
    std::string longest;
    for (int i = 0; i < 255; ++i) longest += "\xf0\x9f\x8e\x89"; // characters count, not bytes
    EXPECT_TRUE(is_idempotency_key(longest));
    EXPECT_FALSE(is_idempotency_key(longest + "k"));
    EXPECT_TRUE(is_idempotency_key(std::string(255, 'k')));
    EXPECT_FALSE(is_idempotency_key(std::string(256, 'k')));
    EXPECT_FALSE(is_idempotency_key(""));
    for (int letter = 0; letter < 256; ++letter) {
        const std::string text(1, static_cast<char>(letter));
        EXPECT_EQ(is_idempotency_key(text), letter >= 0x20 && letter <= 0x7e) << letter;
    }
    for (const char* text : {"a\xc2\x80", "a\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xff"}) {
        EXPECT_FALSE(is_idempotency_key(text)) << testing::PrintToString(text);
    }
}

} // namespace
} // namespace doorbuster
