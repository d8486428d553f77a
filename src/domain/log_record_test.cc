#include "domain/log_record.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <string>
#include <vector>

namespace doorbuster {
namespace {

LogRecord any_record() {
    LogRecord record;
    record.kind =
        *rc::gen::element(LogRecordKind::order, LogRecordKind::barrier, LogRecordKind::withdraw);
    record.sale = SaleNo(*rc::gen::arbitrary<std::uint32_t>() & kSaleNoMax);
    record.epoch = Epoch(*rc::gen::arbitrary<std::uint64_t>() >> 1);
    if (record.kind == LogRecordKind::barrier) return record;
    const auto bytes = *rc::gen::container<std::vector<std::uint8_t>>(
        OrderId::kBytes, rc::gen::arbitrary<std::uint8_t>());
    record.order = OrderId::from_bytes(bytes.data());
    record.quantity = *rc::gen::inRange<Units>(0, kQuantityMax + 1);
    record.user = *rc::gen::arbitrary<std::string>();
    record.key = *rc::gen::arbitrary<std::string>();
    if (record.kind == LogRecordKind::order && *rc::gen::arbitrary<bool>()) {
        const auto any = rc::gen::arbitrary<std::int64_t>();
        record.sighting = StockSighting{*any, *any, *any};
    }
    return record;
}

LogRecordView view(const LogRecord& record) {
    return {record.kind, record.sale, record.epoch,   record.order,   record.quantity,
            record.user, record.key,  LogPartition(), record.sighting};
}

bool same(const LogRecord& a, const LogRecord& b) {
    return a.kind == b.kind && a.sale == b.sale && a.epoch == b.epoch && a.order == b.order &&
           a.quantity == b.quantity && a.user == b.user && a.key == b.key &&
           a.sighting == b.sighting;
}

RC_GTEST_PROP(LogRecord, IsReadAsItWasWritten, ()) {
    std::vector<LogRecord> written;
    std::string bytes;
    const auto count = *rc::gen::inRange(0, 8);
    for (int i = 0; i < count; ++i) {
        written.push_back(any_record());
        append_record(bytes, view(written.back()));
    }
    const auto read = parse_records(bytes, written.size());
    RC_ASSERT(read.has_value());
    RC_ASSERT(read->size() == written.size());
    for (std::size_t i = 0; i < written.size(); ++i) RC_ASSERT(same(written[i], (*read)[i]));
}

RC_GTEST_PROP(LogRecord, IsCorruptWhereverItIsCutShort, ()) {
    std::string bytes;
    append_record(bytes, view(any_record()));
    append_record(bytes, view(any_record()));
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const auto read = parse_records(std::string_view(bytes).substr(0, length), 2);
        RC_ASSERT(!read.has_value());
        RC_ASSERT(read.error().is(Errc::corrupt));
    }
}

RC_GTEST_PROP(LogRecord, OfAKindThatIsUnknownIsTooNew, ()) {
    std::string bytes;
    append_record(bytes, view(any_record()));
    const auto known = [](int kind) { return kind >= 1 && kind <= 4; };
    const int kind = *rc::gen::suchThat(rc::gen::inRange(0, 256), [&](int k) { return !known(k); });
    bytes[0] = static_cast<char>(kind);
    const auto read = parse_records(bytes, 1);
    RC_ASSERT(!read.has_value());
    RC_ASSERT(read.error().is(Errc::too_new));
}

RC_GTEST_PROP(LogRecord, ThatNobodyCountedIsCorrupt, ()) {
    std::string bytes;
    append_record(bytes, view(any_record()));
    const auto read = parse_records(bytes, 0);
    RC_ASSERT(!read.has_value());
    RC_ASSERT(read.error().is(Errc::corrupt));
}

RC_GTEST_PROP(LogRecord, SurvivesAnyBytes, ()) {
    const auto bytes = *rc::gen::arbitrary<std::string>();
    const auto read = parse_records(bytes, *rc::gen::inRange<std::size_t>(0, 4));
    // RC_ASSERT would evaluate both sides of an `or`.
    const bool is_clear = read || read.error().is(Errc::corrupt) || read.error().is(Errc::too_new);
    RC_ASSERT(is_clear);
}

TEST(LogRecord, KeepsTheLongestTextsAndTheLargestQuantity) {
    LogRecord record;
    record.quantity = kQuantityMax;
    record.user = std::string(UINT16_MAX, 'u');
    record.key = std::string(UINT16_MAX, 'k');
    std::string bytes;
    append_record(bytes, view(record));
    const auto read = parse_records(bytes, 1);
    ASSERT_TRUE(read);
    EXPECT_TRUE(same(read->front(), record));
}

// The bytes are in every log that exists: they may not change.
TEST(LogRecord, OfASaleOrAnEpochThatNoStoreCanHoldIsRefused) {
    LogRecordView record;
    record.kind = LogRecordKind::barrier;
    const auto can_be_read = [&record] {
        std::string bytes;
        append_record(bytes, record);
        return parse_records(bytes, 1).has_value();
    };
    record.sale = SaleNo(kSaleNoMax);
    EXPECT_TRUE(can_be_read());
    record.sale = SaleNo(kSaleNoMax + 1);
    EXPECT_FALSE(can_be_read());
    record.sale = SaleNo(1);
    record.epoch = Epoch(std::uint64_t{1} << 63);
    EXPECT_FALSE(can_be_read());
}

TEST(LogRecord, HasTheBytesThatTheFormatSays) {
    LogRecord record;
    record.sale = SaleNo(0x01020304);
    record.epoch = Epoch(5);
    record.quantity = 3;
    record.user = "ab";
    std::string bytes;
    append_record(bytes, view(record));
    const std::string expected = std::string("\x01\x04\x03\x02\x01\x05\0\0\0\0\0\0\0", 13) +
                                 std::string(20, '\0') + std::string("\x03\0\0\0\x02\0ab\0\0", 10);
    EXPECT_EQ(bytes, expected);
    // A withdrawal is written as an order is; a barrier ends before the id.
    record.kind = LogRecordKind::withdraw;
    std::string withdrawal;
    append_record(withdrawal, view(record));
    EXPECT_EQ(withdrawal, "\x03" + expected.substr(1));
    record.kind = LogRecordKind::barrier;
    std::string barrier;
    append_record(barrier, view(record));
    EXPECT_EQ(barrier, "\x02" + expected.substr(1, 12));
}

} // namespace
} // namespace doorbuster
