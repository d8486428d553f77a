#include "app/expiry_report.h"

#include <array>
#include <cmath>
#include <fmt/format.h>
#include <iterator>
#include <utility>
#include <vector>

#include "app/table.h"

namespace doorbuster {
namespace {

using Row = std::pair<std::string, const LatencySummary*>;
using Phase = std::pair<std::string, const ExpiryBenchPurchases*>;

std::string count(std::uint64_t number) { return grouped(static_cast<std::int64_t>(number)); }

std::array<Row, 7> latencies_of(const ExpiryBenchReport& report) {
    return {Row{"together, from decision to sellable", &report.together.decided_to_sellable},
            Row{"together, from due to sellable", &report.together.due_to_sellable},
            Row{"together, a transaction", &report.together.transaction},
            Row{"ticking off, a transaction", &report.tick_off},
            Row{"one by one, from decision to sellable", &report.singles.decided_to_sellable},
            Row{"one by one, from due to sellable", &report.singles.due_to_sellable},
            Row{"one by one, a transaction", &report.singles.transaction}};
}

std::array<Phase, 3> phases_of(const ExpiryBenchReport& report) {
    return {Phase{"nothing expires", &report.alone},
            Phase{"all expire together", &report.while_together},
            Phase{"they expire one by one", &report.while_singles}};
}

std::vector<std::string> cells_of(const Row& row) {
    const LatencySummary& ms = *row.second;
    return {row.first, count(ms.count), fmt::format("{:.2f}", ms.p50),
            fmt::format("{:.2f}", ms.p99), fmt::format("{:.2f}", ms.max)};
}

std::vector<std::string> cells_of(const Phase& phase) {
    const ExpiryBenchPurchases& bought = *phase.second;
    const LatencySummary& ms = bought.latency;
    return {phase.first,
            fmt::format("{:.1f}", bought.seconds),
            count(ms.count),
            count(bought.refused),
            fmt::format("{:.2f}", ms.p50),
            fmt::format("{:.2f}", ms.p99),
            fmt::format("{:.2f}", ms.max),
            count(bought.lag_records_max)};
}

const std::vector<std::string> kLatencyTitles{"ms", "number", "p50", "p99", "max"};
const std::vector<std::string> kPhaseTitles{"purchases while", "s",      "accepted", "refused",
                                            "p50 ms",          "p99 ms", "max ms",   "lag max"};

Table table_of(const std::vector<std::string>& titles) {
    std::vector<Table::Column> columns;
    for (const std::string& title : titles) {
        columns.push_back({title, columns.empty() ? Table::Align::left : Table::Align::right});
    }
    return Table(std::move(columns));
}

void append_line(std::string& out, const std::vector<std::string>& cells) {
    for (const std::string& cell : cells) out += "| " + cell + ' ';
    out += "|\n";
}

void append_titles(std::string& out, const std::vector<std::string>& titles) {
    append_line(out, titles);
    for (std::size_t i = 0; i < titles.size(); ++i) out += i == 0 ? "|---" : "|---:";
    out += "|\n";
}

std::string json_of(const LatencySummary& ms) {
    return fmt::format(R"({{"count":{},"p50":{:.4f},"p99":{:.4f},"max":{:.4f}}})", ms.count, ms.p50,
                       ms.p99, ms.max);
}

std::string json_of(const ExpiryBenchOrders& orders) {
    return fmt::format(R"("decided_to_sellable_ms":{},"due_to_sellable_ms":{},"transaction_ms":{})",
                       json_of(orders.decided_to_sellable), json_of(orders.due_to_sellable),
                       json_of(orders.transaction));
}

std::string json_of(const ExpiryBenchPurchases& bought) {
    return fmt::format(R"({{"seconds":{:.3f},"latency_ms":{},"refused":{},"lag_records_max":{}}})",
                       bought.seconds, json_of(bought.latency), bought.refused,
                       bought.lag_records_max);
}

std::string wal_mib(const ExpiryBenchReport& report) {
    return fmt::format("{:.0f} MiB", static_cast<double>(report.store_wal_bytes_max) / 1048576);
}

} // namespace

LatencySummary summary_of(const Histogram& nanoseconds) {
    const auto ms = [](std::uint64_t ns) { return static_cast<double>(ns) * 1e-6; };
    return {nanoseconds.count(), ms(nanoseconds.percentile(0.5)), ms(nanoseconds.percentile(0.99)),
            ms(nanoseconds.max())};
}

double ExpiryBenchReport::expired_per_second() const {
    return together_seconds > 0 ? static_cast<double>(options.orders) / together_seconds : 0;
}

std::string to_json(const ExpiryBenchReport& report) {
    const ExpiryBenchOptions& options = report.options;
    std::string out =
        fmt::format(R"({{{},"orders":{},"singles":{},"purchases_per_second":{},"with_events":{},)",
                    head_json(report.head), options.orders, options.singles,
                    options.purchases_per_second, options.with_events);
    fmt::format_to(std::back_inserter(out),
                   R"("expired_per_second":{:.1f},"together":{{{},"seconds":{:.3f},)"
                   R"("at_rest_seconds":{:.3f},"tick_off_ms":{},"store_wal_bytes_max":{}}},)",
                   report.expired_per_second(), json_of(report.together), report.together_seconds,
                   report.at_rest_seconds, json_of(report.tick_off), report.store_wal_bytes_max);
    fmt::format_to(std::back_inserter(out),
                   R"("one_by_one":{{{}}},"purchases":{{"alone":{},"while_together":{},)"
                   R"("while_one_by_one":{}}}}})",
                   json_of(report.singles), json_of(report.alone), json_of(report.while_together),
                   json_of(report.while_singles));
    return out;
}

std::string to_markdown(const ExpiryBenchReport& report) {
    const ExpiryBenchOptions& options = report.options;
    std::string out =
        "# Expiry: from a payment that did not come to a unit that is for sale again\n\n";
    out += head_markdown(report.head);
    fmt::format_to(
        std::back_inserter(out),
        "\n{} orders that are due in the same millisecond, then {} that are due one by one. All "
        "the "
        "while {} purchases a second are due on another sale of the same store{}.\n\n"
        "- expired and for sale again: {} orders/s, the last {:.2f} s after all were due\n"
        "- every give-back ticked off: {:.2f} s after all were due\n"
        "- the store's write-ahead log: {} at most\n\n",
        count(options.orders), count(options.singles), count(options.purchases_per_second),
        options.with_events ? "; every change of an order goes to the outbox" : "",
        grouped(std::llround(report.expired_per_second())), report.together_seconds,
        report.at_rest_seconds, wal_mib(report));
    append_titles(out, kLatencyTitles);
    for (const Row& row : latencies_of(report)) append_line(out, cells_of(row));
    out += '\n';
    append_titles(out, kPhaseTitles);
    for (const Phase& phase : phases_of(report)) append_line(out, cells_of(phase));
    out += "\n*Decision* is the beginning of the transaction that finds the order due, with its "
           "wait for its turn at the store; *sellable* is when the inventory has the unit again. A "
           "purchase's latency counts from when it was due until its order was durable. *Lag* is "
           "how many orders the log had and the store did not.\n";
    return out;
}

std::string to_text(const ExpiryBenchReport& report) {
    std::string out = fmt::format(
        "{} orders that expire together: {} orders/s, the last for sale again after {:.2f} s\n"
        "Every give-back ticked off after {:.2f} s; the store's write-ahead log: {} at most\n\n",
        count(report.options.orders), grouped(std::llround(report.expired_per_second())),
        report.together_seconds, report.at_rest_seconds, wal_mib(report));
    Table latencies = table_of(kLatencyTitles);
    for (const Row& row : latencies_of(report)) latencies.add(cells_of(row));
    Table purchases = table_of(kPhaseTitles);
    for (const Phase& phase : phases_of(report)) purchases.add(cells_of(phase));
    return out + latencies.text(Colour::off) + '\n' + purchases.text(Colour::off);
}

} // namespace doorbuster
