#include "app/load/report.h"

#include <boost/json/serialize.hpp>
#include <cmath>
#include <fmt/format.h>
#include <iterator>
#include <numeric>

#include "app/table.h"

namespace doorbuster {
namespace {

constexpr double kMsPerNs = 1e-6;

std::string json_of(const std::optional<LatencyMs>& latency) {
    if (!latency) return R"({"p50":null,"p90":null,"p99":null,"p999":null,"max":null})";
    return fmt::format(R"({{"p50":{:.3f},"p90":{:.3f},"p99":{:.3f},"p999":{:.3f},"max":{:.3f}}})",
                       latency->p50, latency->p90, latency->p99, latency->p999, latency->max);
}

std::string json_of(const std::vector<std::string>& texts) {
    std::string out = "[";
    for (const std::string& text : texts) {
        if (out.size() > 1) out += ',';
        out += boost::json::serialize(boost::json::string(text));
    }
    return out + ']';
}

} // namespace

const char* to_string(LoadErrorKind kind) {
    switch (kind) {
    case LoadErrorKind::answer: return "answer";
    case LoadErrorKind::books: return "books";
    case LoadErrorKind::connect: return "connect";
    case LoadErrorKind::io: return "io";
    case LoadErrorKind::timeout: return "timeout";
    }
    return "";
}

std::optional<LatencyMs> latency_of(const Histogram& nanoseconds) {
    if (nanoseconds.count() == 0) return std::nullopt;
    const auto ms = [&](double q) {
        return static_cast<double>(nanoseconds.percentile(q)) * kMsPerNs;
    };
    return LatencyMs{ms(0.5), ms(0.9), ms(0.99), ms(0.999),
                     static_cast<double>(nanoseconds.max()) * kMsPerNs};
}

std::optional<LatencyCurve> curve_of(const Histogram& nanoseconds) {
    if (nanoseconds.count() == 0) return std::nullopt;
    LatencyCurve curve{};
    for (std::size_t i = 0; i < curve.size(); ++i) {
        curve[i] = static_cast<double>(nanoseconds.percentile(kCurveQuantiles[i])) * kMsPerNs;
    }
    return curve;
}

std::uint64_t LoadReport::errors_total() const {
    return std::accumulate(errors.begin(), errors.end(), std::uint64_t{0});
}

double LoadReport::attempts_per_second() const {
    return seconds > 0 ? static_cast<double>(attempts) / seconds : 0;
}

double LoadReport::accepted_per_second() const {
    return seconds > 0 ? static_cast<double>(accepted) / seconds : 0;
}

std::string to_json(const LoadReport& report) {
    std::string rejected;
    for (std::size_t i = 0; i < report.rejected.size(); ++i) {
        if (report.rejected[i] == 0) continue;
        fmt::format_to(std::back_inserter(rejected), R"({}"{}":{})", rejected.empty() ? "" : ",",
                       to_string(static_cast<PurchaseOutcome>(i)), report.rejected[i]);
    }
    std::string kinds;
    for (std::size_t i = 0; i < report.errors.size(); ++i) {
        fmt::format_to(std::back_inserter(kinds), R"({}"{}":{})", kinds.empty() ? "" : ",",
                       to_string(static_cast<LoadErrorKind>(i)), report.errors[i]);
    }
    std::string out = fmt::format(
        R"({{"attempts":{},"accepted":{},"rejected":{{{}}},"errors":{},"seconds":{:.6f},)"
        R"("attempts_per_second":{:.1f},"accepted_per_second":{:.1f},)",
        report.attempts, report.accepted, rejected, report.errors_total(), report.seconds,
        report.attempts_per_second(), report.accepted_per_second());
    out += fmt::format(R"("latency_ms":{},"accepted_latency_ms":{},"rejected_latency_ms":{},)",
                       json_of(report.latency), json_of(report.accepted_latency),
                       json_of(report.rejected_latency));
    out += fmt::format(R"("accepted_units":{},"replayed":{},"retries":{},"unsent":{},)"
                       R"("errors_by_kind":{{{}}},"stopped":{},"examples":{},"notes":{}}})",
                       report.accepted_units, report.replayed, report.retries, report.unsent, kinds,
                       report.is_stopped, json_of(report.examples), json_of(report.notes));
    return out;
}

std::string unsent_note(std::uint64_t unsent) {
    return fmt::format("{} attempts were due before the end and not sent: no connection was free. "
                       "The latencies do not hold their wait; use more connections or a lower rate",
                       unsent);
}

std::string to_table(const LoadReport& report) {
    std::string out;
    const auto line = [&](std::string_view name, const std::string& value) {
        fmt::format_to(std::back_inserter(out), "{:<22}{:>14}\n", name, value);
    };
    const auto count = [&](std::string_view name, std::uint64_t value) {
        line(name, grouped(static_cast<std::int64_t>(value)));
    };
    count("attempts", report.attempts);
    count("accepted", report.accepted);
    if (report.accepted_units != static_cast<Units>(report.accepted)) {
        count("  units", static_cast<std::uint64_t>(report.accepted_units));
    }
    if (report.replayed > 0) count("replayed", report.replayed);
    count("rejected",
          std::accumulate(report.rejected.begin(), report.rejected.end(), std::uint64_t{0}));
    for (std::size_t i = 0; i < report.rejected.size(); ++i) {
        if (report.rejected[i] == 0) continue;
        count(fmt::format("  {}", to_string(static_cast<PurchaseOutcome>(i))), report.rejected[i]);
    }
    count("errors", report.errors_total());
    for (std::size_t i = 0; i < report.errors.size(); ++i) {
        if (report.errors[i] == 0) continue;
        count(fmt::format("  {}", to_string(static_cast<LoadErrorKind>(i))), report.errors[i]);
    }
    if (report.retries > 0) count("retries", report.retries);
    if (report.unsent > 0) count("due but not sent", report.unsent);
    line("seconds", fmt::format("{:.3f}", report.seconds));
    count("attempts/s", static_cast<std::uint64_t>(std::llround(report.attempts_per_second())));
    count("accepted/s", static_cast<std::uint64_t>(std::llround(report.accepted_per_second())));

    fmt::format_to(std::back_inserter(out), "\n{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
                   "latency, ms", "p50", "p90", "p99", "p99.9", "max");
    const auto latency = [&](std::string_view name, const std::optional<LatencyMs>& ms) {
        if (!ms) {
            fmt::format_to(std::back_inserter(out), "{0:<14}{1:>10}{1:>10}{1:>10}{1:>10}{1:>10}\n",
                           name, "-");
            return;
        }
        fmt::format_to(std::back_inserter(out),
                       "{:<14}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}{:>10.2f}\n", name, ms->p50,
                       ms->p90, ms->p99, ms->p999, ms->max);
    };
    latency("all", report.latency);
    latency("accepted", report.accepted_latency);
    latency("rejected", report.rejected_latency);
    return out;
}

std::string to_remarks(const LoadReport& report) {
    std::string out;
    for (const std::string& note : report.notes) {
        fmt::format_to(std::back_inserter(out), "note: {}\n", printable(note));
    }
    if (report.examples.empty()) return out;
    fmt::format_to(std::back_inserter(out), "{} errors, for example:\n", report.errors_total());
    // An example may hold what a server sent: no terminal gets to act on that.
    for (const std::string& example : report.examples) {
        fmt::format_to(std::back_inserter(out), "  {}\n", printable(example));
    }
    return out;
}

} // namespace doorbuster
