#include "app/load/http_call.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <fmt/format.h>

#include "app/load/answer_reader.h"

namespace doorbuster::load {
namespace {

std::string request_text(const Target& target, const HttpCall& call) {
    std::string out = call.method + ' ' + target.url.prefix + call.path +
                      " HTTP/1.1\r\nHost: " + target.url.authority() +
                      "\r\nConnection: close\r\nAccept: application/json\r\n";
    if (!call.bearer_token.empty()) out += "Authorization: Bearer " + call.bearer_token + "\r\n";
    if (!call.body.empty()) out += "Content-Type: application/json\r\n";
    if (!call.body.empty() || call.method != "GET") {
        out += "Content-Length: " + std::to_string(call.body.size()) + "\r\n";
    }
    return out + "\r\n" + call.body;
}

Task<void> exchange(Connection& connection, const std::string& request,
                    Result<HttpAnswer>& result) {
    Connection::Code error = co_await connection.connect();
    if (!error) error = co_await connection.write(request);
    AnswerReader reader;
    Answer answer;
    auto progress = AnswerReader::Progress::more;
    while (!error && progress == AnswerReader::Progress::more) {
        const std::size_t bytes = co_await connection.read_some(reader.space(), error);
        reader.received(bytes);
        if (error && is_peers_close(error) && reader.has_bytes()) {
            error = {};
            progress = reader.ended(answer);
        } else if (!error) {
            progress = reader.next(answer);
        }
    }
    connection.close();
    if (error) {
        result = fail(Errc::unavailable, error.message());
    } else if (progress == AnswerReader::Progress::broken) {
        result = fail(Errc::corrupt, std::string(reader.why()));
    } else {
        result =
            HttpAnswer{answer.status, std::string(answer.content_type), std::string(answer.body)};
    }
}

} // namespace

Result<HttpAnswer> http_call(const Target& target, const HttpCall& call, Duration timeout) {
    const std::string name =
        fmt::format("{} {} at {}", call.method, call.path, target.url.authority());
    const std::string request = request_text(target, call);
    boost::asio::io_context io(1);
    Connection connection(io.get_executor(), target);
    Result<HttpAnswer> result = HttpAnswer{};
    boost::asio::co_spawn(io, exchange(connection, request, result), boost::asio::detached);
    io.run_for(timeout);
    if (!io.stopped()) {
        connection.close();
        io.run(); // the exchange ends with an error
        return fail(Errc::timeout, fmt::format("{}: no answer in {} ms", name, timeout.count()));
    }
    if (!result) return fail(result.error().code, name + ": " + result.error().context);
    return result;
}

std::string describe(const HttpAnswer& answer) {
    boost::system::error_code error;
    const boost::json::value value = boost::json::parse(answer.body, error);
    const boost::json::object* const problem = error ? nullptr : value.if_object();
    const auto text = [&](std::string_view name) -> std::string {
        const boost::json::value* const field =
            problem == nullptr ? nullptr : problem->if_contains(name);
        return field == nullptr || !field->is_string() ? "" : std::string(field->get_string());
    };
    const std::string code = text("code");
    if (code.empty()) return fmt::format("status {}", answer.status);
    return fmt::format("{} {}: {}", answer.status, code, text("detail"));
}

} // namespace doorbuster::load
