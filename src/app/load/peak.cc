#include "app/load/peak.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <iterator>

#include "app/commands/server_client.h"
#include "app/table.h"

namespace doorbuster {
namespace {

// More buyers than any run reaches; the duration ends it. Ids of 10 digits.
constexpr std::uint64_t kBuyers = 1'000'000'000;
constexpr Units kStock = kStockMax;
constexpr Duration kAdminTimeout{10'000};

// Makes the runs of one measurement, one after the other.
class Measurement {
public:
    Measurement(const PeakOptions& options, const std::atomic<bool>& stop, const PeakSink& progress)
        : options_(options), stop_(stop), progress_(progress), tag_(tag_of_now()) {}

    Result<LoadReport> run(const std::string& step, std::uint64_t connections, Duration duration,
                           std::optional<double> rate) {
        ++runs_;
        LoadOptions load;
        load.url = options_.url;
        load.sale = options_.sale;
        load.buyers = kBuyers;
        load.connections = connections;
        load.threads = options_.threads;
        load.duration = duration;
        load.rate = rate;
        load.insecure = options_.insecure;
        load.ca_file = options_.ca_file;
        // New buyers each time, also in another measurement on the same sale.
        load.user_prefix = fmt::format("peak-{}-{}-", tag_, runs_);
        if (load.sale.empty()) {
            load.sale = fmt::format("bench-peak-{}-{}", tag_, runs_);
            if (auto made = make_sale(load.sale); !made) return tl::unexpected(made.error());
        }
        auto report = run_load(load, stop_, [&](const LoadProgress& progress) {
            if (progress_) progress_(step, progress);
        });
        // Whatever became of the run, also when it was stopped.
        auto closed = options_.sale.empty() ? close_sale(load.sale) : Result<void>();
        if (!report) return report;
        if (report->is_stopped) return fail(Errc::unavailable, step + ": stopped");
        if (!closed) return tl::unexpected(closed.error());
        if (report->accepted == 0) {
            return fail(Errc::invalid,
                        fmt::format("{}: nothing was accepted: {}", step, to_json(*report)));
        }
        return report;
    }

private:
    static std::string tag_of_now() {
        const auto now = std::chrono::floor<Duration>(std::chrono::system_clock::now());
        return std::to_string(now.time_since_epoch().count());
    }

    // Over a connection of its own: a kept one may be closed by the server during a long run.
    Result<void> administer(const std::string& path, const boost::json::value& body) {
        ServerOptions server;
        server.url = options_.url;
        server.admin_token = options_.admin_token;
        server.insecure = options_.insecure;
        server.ca_file = options_.ca_file;
        server.timeout = kAdminTimeout;
        auto client = ServerClient::create(server, {});
        if (!client) return tl::unexpected(client.error());
        const auto answer = client->send("POST", path, body);
        if (!answer)
            return fail(answer.error().code, "POST " + path + ": " + answer.error().context);
        return {};
    }

    Result<void> make_sale(const std::string& id) {
        const boost::json::object body{
            {"id", id},
            {"title", fmt::format("doorbuster bench peak, run {}", runs_)},
            {"stock", kStock},
            {"per_user_limit", 1}};
        return administer("/v1/sales", body);
    }
    Result<void> close_sale(const std::string& id) {
        return administer(fmt::format("/v1/sales/{}/close", id), nullptr);
    }

    const PeakOptions& options_;
    const std::atomic<bool>& stop_;
    const PeakSink& progress_;
    std::string tag_;
    std::uint64_t runs_ = 0;
};

void take_errors(PeakReport& report, const LoadReport& run) {
    report.errors += run.errors_total();
    for (const std::string& example : run.examples) {
        if (report.examples.size() < 10) report.examples.push_back(example);
    }
}

Result<void> measure_closed(PeakReport& report, Measurement& measurement,
                            const PeakOptions& options) {
    for (std::uint64_t round = 1; round <= options.rounds; ++round) {
        for (PeakPoint& point : report.points) {
            const std::string step = fmt::format("closed loop, {} connections, round {} of {}",
                                                 point.connections, round, options.rounds);
            auto run = measurement.run(step, point.connections, options.closed_for, std::nullopt);
            if (!run) return tl::unexpected(run.error());
            take_errors(report, *run);
            point.rounds.push_back(std::move(*run));
        }
    }
    for (const PeakPoint& point : report.points) {
        const double accepted = point.median().accepted_per_second();
        if (accepted <= report.peak_accepted_per_second) continue;
        report.peak_accepted_per_second = accepted;
        report.peak_connections = point.connections;
    }
    return {};
}

std::string count(double value) { return grouped(std::llround(value)); }

// One row of the tables: the latencies of accepted orders.
std::string cells(const LoadReport& run) {
    if (!run.accepted_latency) return "- | - | - | -";
    const LatencyMs& ms = *run.accepted_latency;
    return fmt::format("{:.2f} | {:.2f} | {:.2f} | {:.2f}", ms.p50, ms.p99, ms.p999, ms.max);
}

} // namespace

const LoadReport& PeakPoint::median() const {
    std::vector<const LoadReport*> sorted;
    sorted.reserve(rounds.size());
    for (const LoadReport& round : rounds) sorted.push_back(&round);
    std::ranges::sort(sorted, {}, [](const LoadReport* r) { return r->accepted_per_second(); });
    return *sorted[(sorted.size() - 1) / 2];
}

Result<PeakReport> run_peak(const PeakOptions& options, const std::atomic<bool>& stop,
                            const PeakSink& progress) {
    const bool is_good_share = options.open_share > 0 && options.open_share <= 1;
    if (options.connections.empty() || options.rounds == 0 || !is_good_share) {
        return fail(Errc::invalid, "peak needs connections, a round, and a share of 0 to 1");
    }
    PeakReport report;
    report.head = result_head(options.version, options.command);
    for (const std::uint64_t connections : options.connections) {
        report.points.push_back({connections, {}});
    }
    Measurement measurement(options, stop, progress);
    if (options.warm_up.count() > 0) {
        auto run =
            measurement.run("warm-up", options.connections.back(), options.warm_up, std::nullopt);
        if (!run) return tl::unexpected(run.error());
        take_errors(report, *run);
    }
    if (auto done = measure_closed(report, measurement, options); !done) {
        return tl::unexpected(done.error());
    }
    report.open_rate = report.peak_accepted_per_second * options.open_share;
    auto open = measurement.run(fmt::format("open loop, {:.0f}/s", report.open_rate),
                                report.peak_connections, options.open_for, report.open_rate);
    if (!open) return tl::unexpected(open.error());
    take_errors(report, *open);
    report.open = std::move(*open);
    return report;
}

std::string to_json(const PeakReport& report) {
    std::string out = fmt::format(R"({{{},"points":[)", head_json(report.head));
    for (const PeakPoint& point : report.points) {
        if (&point != &report.points.front()) out += ',';
        fmt::format_to(std::back_inserter(out),
                       R"({{"connections":{},"accepted_per_second":{:.1f},"rounds":[)",
                       point.connections, point.median().accepted_per_second());
        for (const LoadReport& round : point.rounds) {
            if (&round != &point.rounds.front()) out += ',';
            out += to_json(round);
        }
        out += "]}";
    }
    fmt::format_to(std::back_inserter(out),
                   R"(],"peak":{{"connections":{},"accepted_per_second":{:.1f}}},)"
                   R"("open_rate":{:.1f},"open":{},"errors":{}}})",
                   report.peak_connections, report.peak_accepted_per_second, report.open_rate,
                   to_json(report.open), report.errors);
    return out;
}

std::string to_markdown(const PeakReport& report) {
    std::string out = "# Peak: durable orders accepted per second\n\n";
    out += head_markdown(report.head);
    fmt::format_to(std::back_inserter(out), "- errors: {}\n", report.errors);
    out += "\nClosed loop, medians of the rounds; latencies of accepted orders in milliseconds. "
           "The load runs on the same machine as the server.\n\n"
           "| connections | rounds | accepted/s | p50 | p99 | p99.9 | max |\n"
           "|---:|---:|---:|---:|---:|---:|---:|\n";
    for (const PeakPoint& point : report.points) {
        fmt::format_to(std::back_inserter(out), "| {} | {} | {} | {} |\n", point.connections,
                       point.rounds.size(), count(point.median().accepted_per_second()),
                       cells(point.median()));
    }
    fmt::format_to(
        std::back_inserter(out),
        "\nPeak: {} accepted/s at {} connections.\n\n"
        "Open loop at {:.0f} % of the peak, {} connections; latency from when each "
        "purchase was due.\n\n"
        "| due/s | accepted/s | accepted | due but not sent | p50 | p99 | p99.9 | max |\n"
        "|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        "| {} | {} | {} | {} | {} |\n",
        count(report.peak_accepted_per_second), report.peak_connections,
        100 * report.open_rate / report.peak_accepted_per_second, report.peak_connections,
        count(report.open_rate), count(report.open.accepted_per_second()),
        grouped(static_cast<std::int64_t>(report.open.accepted)),
        grouped(static_cast<std::int64_t>(report.open.unsent)), cells(report.open));
    return out;
}

std::string to_table(const PeakReport& report) {
    Table closed({{"connections", Table::Align::right},
                  {"accepted/s", Table::Align::right},
                  {"p50 ms", Table::Align::right},
                  {"p99 ms", Table::Align::right},
                  {"p99.9 ms", Table::Align::right},
                  {"max ms", Table::Align::right}});
    const auto add = [&closed](std::string name, const LoadReport& run) {
        const LatencyMs ms = run.accepted_latency.value_or(LatencyMs{});
        closed.add({std::move(name), count(run.accepted_per_second()),
                    fmt::format("{:.2f}", ms.p50), fmt::format("{:.2f}", ms.p99),
                    fmt::format("{:.2f}", ms.p999), fmt::format("{:.2f}", ms.max)});
    };
    for (const PeakPoint& point : report.points) {
        add(std::to_string(point.connections), point.median());
    }
    add(fmt::format("open loop, {}/s", count(report.open_rate)), report.open);
    return fmt::format("{}\npeak {} accepted/s at {} connections, {} errors\n",
                       closed.text(Colour::off), count(report.peak_accepted_per_second),
                       report.peak_connections, report.errors);
}

Result<void> write_report(const PeakReport& report, const std::string& path) {
    return write_result(path, to_markdown(report), to_json(report));
}

} // namespace doorbuster
