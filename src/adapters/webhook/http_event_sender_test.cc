#include "adapters/webhook/http_event_sender.h"

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <gtest/gtest.h>
#include <mutex>
#include <optional>

#include "adapters/webhook/receiver_fixture.h"
#include "runtime/task_fixture.h"

namespace doorbuster::webhook {
namespace {

using doorbuster::fixture::finish;
using doorbuster::fixture::RunningCores;
using doorbuster::fixture::start_on;
using fixture::Certificate;
using fixture::Peer;
using fixture::Receiver;
using Kind = SendResult::Kind;

constexpr std::string_view kSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TimePoint kNow{Duration(1'614'265'330'999)};
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// The sender's one thread, and a sender on it.
class Sender {
public:
    explicit Sender(const std::string& url, Duration timeout = std::chrono::seconds(20),
                    PrivateNetworks networks = PrivateNetworks::allowed) {
        SenderOptions options;
        options.endpoints.push_back({url, std::string(kSecret)});
        options.private_networks = networks;
        options.timeout = timeout;
        options.user_agent = "doorbuster/1.2.3";
        sender_ = HttpEventSender::open(clock_, options).value();
    }
    ~Sender() {
        cores_.stop();
        sender_->close();
    }
    Sender(const Sender&) = delete;
    Sender& operator=(const Sender&) = delete;

    std::future<SendResult> start() { return start_on(cores_.at(0), sender_->send(0, message_)); }
    SendResult send() {
        auto result = start();
        return finish(result);
    }

private:
    ManualClock clock_{kNow};
    RunningCores cores_{1};
    EventMessage message_{"msg_p5jXN8AQM9LWM0D4loKWxJek", R"({"test": 2432232314})"};
    std::unique_ptr<HttpEventSender> sender_;
};

// A receiver that answers every request of a connection with the same bytes.
Receiver answering(std::string_view answer) {
    return Receiver([answer](Peer& peer, int) {
        while (!peer.request().empty()) peer.send(answer);
    });
}

// A receiver that answers one request with the bytes and closes.
SendResult after(const std::string& answer) {
    Receiver receiver([&](Peer& peer, int) {
        if (!peer.request().empty()) peer.send(answer);
    });
    return Sender(receiver.url()).send();
}

bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

TEST(HttpEventSender, SendsASignedCloudEvent) {
    std::mutex mutex;
    std::string seen;
    Receiver receiver([&](Peer& peer, int) {
        while (true) {
            const std::string request = peer.request();
            if (request.empty()) return;
            {
                const std::scoped_lock lock(mutex);
                seen = request;
            }
            peer.send(kOk);
        }
    });
    Sender sender(receiver.url());
    const SendResult result = sender.send();
    EXPECT_EQ(result.kind, Kind::delivered);
    EXPECT_EQ(result.detail, "200");
    const std::scoped_lock lock(mutex);
    EXPECT_EQ(seen, "POST /hook HTTP/1.1\r\n"
                    "Host: 127.0.0.1:" +
                        std::to_string(receiver.port()) +
                        "\r\n"
                        "User-Agent: doorbuster/1.2.3\r\n"
                        "Content-Type: application/cloudevents+json\r\n"
                        "Content-Length: 20\r\n"
                        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\r\n"
                        "webhook-timestamp: 1614265330\r\n"
                        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n"
                        "\r\n"
                        "{\"test\": 2432232314}");
}

TEST(HttpEventSender, ReadsTheVerdictFromTheStatus) {
    const auto empty = [](const char* status) {
        return after(std::string("HTTP/1.1 ") + status + "\r\nContent-Length: 0\r\n\r\n");
    };
    EXPECT_EQ(empty("202 Accepted").kind, Kind::delivered);
    EXPECT_EQ(after("HTTP/1.1 204 No Content\r\n\r\n").kind, Kind::delivered);
    EXPECT_EQ(empty("500 Internal Server Error").kind, Kind::failed);
    EXPECT_EQ(empty("500 Internal Server Error").detail, "500");
    EXPECT_EQ(empty("404 Not Found").kind, Kind::failed);
    EXPECT_EQ(empty("410 Gone").kind, Kind::gone);
    EXPECT_EQ(empty("101 Switching Protocols").kind, Kind::failed);
}

TEST(HttpEventSender, DoesNotFollowARedirect) {
    Receiver other = answering(kOk);
    const SendResult result =
        after("HTTP/1.1 302 Found\r\nLocation: " + other.url() + "\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(result.kind, Kind::failed);
    EXPECT_EQ(result.detail, "302: redirected, which is not followed");
    EXPECT_EQ(other.connections(), 0);
}

TEST(HttpEventSender, HonoursRetryAfterUpToAnHour) {
    const auto wait = [](const std::string& value) {
        return after("HTTP/1.1 503 Busy\r\nRetry-After: " + value + "\r\nContent-Length: 0\r\n\r\n")
            .retry_after;
    };
    EXPECT_EQ(wait("7"), Duration(7'000));
    EXPECT_EQ(wait("0"), Duration(0));
    EXPECT_EQ(wait("86400"), Duration(3'600'000));
    EXPECT_EQ(wait("9223372036854775807"), Duration(3'600'000));
    EXPECT_EQ(wait("99999999999999999999999"), Duration(3'600'000));
    EXPECT_EQ(wait("-1"), std::nullopt);
    EXPECT_EQ(wait("soon"), std::nullopt);
    EXPECT_EQ(wait("Fri, 31 Dec 1999 23:59:59 GMT"), std::nullopt);
}

TEST(HttpEventSender, SkipsInterimAnswers) {
    EXPECT_EQ(after("HTTP/1.1 103 Early Hints\r\n\r\n" + std::string(kOk)).kind, Kind::delivered);
    std::string many;
    for (int i = 0; i < 100; ++i) many += "HTTP/1.1 100 Continue\r\n\r\n";
    EXPECT_EQ(after(many + std::string(kOk)).kind, Kind::failed);
}

TEST(HttpEventSender, FailsOnWhatIsNoAnswer) {
    EXPECT_EQ(after("").detail, "closed without an answer");
    EXPECT_EQ(after("HTTP/1.1 200").detail, "closed in the middle of the answer");
    EXPECT_EQ(after("HTTP/1.1 200 OK\r\nContent-Le").detail, "closed in the middle of the answer");
    const SendResult garbage = after("SSH-2.0-OpenSSH_9.2\r\n\r\n");
    EXPECT_EQ(garbage.kind, Kind::failed);
    EXPECT_TRUE(contains(garbage.detail, "not HTTP/1.1")) << garbage.detail;
    EXPECT_EQ(after("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n").kind, Kind::failed);
    EXPECT_EQ(after(std::string(100, '\0')).kind, Kind::failed);
}

TEST(HttpEventSender, BoundsTheHeaderOfAnAnswer) {
    std::string answer = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 1'000; ++i) answer += "X-" + std::to_string(i) + ": 0123456789\r\n";
    const SendResult result = after(answer + "\r\n");
    EXPECT_EQ(result.kind, Kind::failed);
    EXPECT_EQ(result.detail, "the answer's header is longer than 8192 bytes");
    EXPECT_EQ(after("HTTP/1.1 200 OK\r\nX: " + std::string(1'000'000, 'x')).kind, Kind::failed);
}

TEST(HttpEventSender, KeepsAConnectionForTheNextEvent) {
    Receiver receiver = answering(kOk);
    Sender sender(receiver.url());
    for (int i = 0; i < 5; ++i) EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(receiver.connections(), 1);
}

TEST(HttpEventSender, KeepsAConnectionAfterAChunkedAnswerAndAFailure) {
    Receiver receiver = answering("HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "5\r\nhello\r\n0\r\n\r\n");
    Sender sender(receiver.url());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(sender.send().kind, Kind::failed);
    EXPECT_EQ(receiver.connections(), 1);
}

TEST(HttpEventSender, DropsAConnectionWhoseBodyIsTooLong) {
    const std::string long_one = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    Receiver receiver([&](Peer& peer, int) {
        if (peer.request().empty()) return;
        peer.send(long_one);
        peer.wait_for_close();
    });
    Sender sender(receiver.url());
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(receiver.connections(), 2);
    std::string endless = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 100; ++i) endless += "400\r\n" + std::string(0x400, 'x') + "\r\n";
    EXPECT_EQ(after(endless).kind, Kind::delivered);
}

TEST(HttpEventSender, DropsAConnectionThatTheReceiverWantsToClose) {
    Receiver receiver = answering("HTTP/1.1 200 OK\r\nConnection: close\r\n"
                                  "Content-Length: 0\r\n\r\n");
    Sender sender(receiver.url());
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(receiver.connections(), 2);
}

TEST(HttpEventSender, SendsAgainWhenAKeptConnectionTurnsOutToBeStale) {
    std::atomic<int> requests = 0;
    Receiver receiver([&](Peer& peer, int number) {
        while (!peer.request().empty()) {
            ++requests;
            if (number == 1 && requests == 2) return; // as if it had been closing meanwhile
            peer.send(kOk);
        }
    });
    Sender sender(receiver.url());
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(requests, 3);
    EXPECT_EQ(receiver.connections(), 2);
}

TEST(HttpEventSender, SendsAgainOnlyOnce) {
    std::atomic<int> requests = 0;
    Receiver receiver([&](Peer& peer, int) {
        while (!peer.request().empty()) {
            if (++requests > 1) return;
            peer.send(kOk);
        }
    });
    Sender sender(receiver.url());
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(sender.send().detail, "closed without an answer");
    EXPECT_EQ(requests, 3);
}

TEST(HttpEventSender, DoesNotSendAgainAfterTheFirstByteOfAnAnswer) {
    std::atomic<int> requests = 0;
    Receiver receiver([&](Peer& peer, int) {
        while (!peer.request().empty()) {
            if (++requests > 1) return peer.send("H");
            peer.send(kOk);
        }
    });
    Sender sender(receiver.url());
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    EXPECT_EQ(sender.send().detail, "closed in the middle of the answer");
    EXPECT_EQ(requests, 2);
}

TEST(HttpEventSender, KeepsAtMostFourConnections) {
    std::mutex mutex;
    std::condition_variable changed;
    int waiting = 0;
    Receiver receiver([&](Peer& peer, int) {
        for (bool first = true; !peer.request().empty(); first = false) {
            if (first) {
                std::unique_lock lock(mutex);
                ++waiting;
                changed.notify_all();
                changed.wait(lock, [&] { return waiting >= 6; });
            }
            peer.send(kOk);
        }
    });
    Sender sender(receiver.url());
    std::vector<std::future<SendResult>> results;
    for (int i = 0; i < 6; ++i) results.push_back(sender.start());
    for (auto& each : results) EXPECT_EQ(finish(each).kind, Kind::delivered);
    EXPECT_EQ(receiver.connections(), 6);
    results.clear();
    for (int i = 0; i < 4; ++i) results.push_back(sender.start());
    for (auto& each : results) EXPECT_EQ(finish(each).kind, Kind::delivered);
    EXPECT_EQ(receiver.connections(), 6);
}

TEST(HttpEventSender, GivesUpOnASilentReceiver) {
    Receiver receiver([](Peer& peer, int) { peer.wait_for_close(); });
    const SendResult result = Sender(receiver.url(), Duration(2'000)).send();
    EXPECT_EQ(result.kind, Kind::failed);
    EXPECT_EQ(result.detail, "timed out waiting for the answer");
}

TEST(HttpEventSender, GivesUpOnAReceiverThatTrickles) {
    std::atomic<bool> stop = false;
    Receiver receiver([&](Peer& peer, int) {
        if (peer.request().empty()) return;
        peer.send("HTTP/1.1 200 OK\r\nX: ");
        // One byte after another, for as long as the sender listens.
        while (!stop) {
            peer.send("x");
            std::this_thread::yield();
        }
    });
    const SendResult result = Sender(receiver.url(), Duration(100)).send();
    EXPECT_EQ(result.kind, Kind::failed); // by the deadline or by the bound of the header
    stop = true;
}

TEST(HttpEventSender, CountsADeliveryWhoseBodyNeverEnds) {
    Receiver receiver([&](Peer& peer, int) {
        if (peer.request().empty()) return;
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        peer.wait_for_close();
    });
    EXPECT_EQ(Sender(receiver.url(), Duration(2'000)).send().kind, Kind::delivered);
}

TEST(HttpEventSender, SaysThatNobodyListens) {
    std::string url;
    {
        Receiver receiver = answering(kOk);
        url = receiver.url();
    }
    const SendResult result = Sender(url).send();
    EXPECT_EQ(result.kind, Kind::failed);
    EXPECT_EQ(result.detail, "connection refused connecting");
}

TEST(HttpEventSender, FailsWhenTheReceiverHasGoneWithItsConnections) {
    auto receiver = std::make_unique<Receiver>([](Peer& peer, int) {
        while (!peer.request().empty()) peer.send(kOk);
    });
    Sender sender(receiver->url());
    EXPECT_EQ(sender.send().kind, Kind::delivered);
    receiver->stop(); // cuts the connection that is kept
    EXPECT_EQ(sender.send().kind, Kind::failed);
}

TEST(HttpEventSender, LooksNamesUp) {
    Receiver receiver = answering(kOk);
    Sender sender(receiver.url("localhost"));
    std::vector<std::future<SendResult>> results;
    for (int i = 0; i < 3; ++i) results.push_back(sender.start()); // these share a look-up
    for (auto& each : results) EXPECT_EQ(finish(each).kind, Kind::delivered);
    // A label of 64 bytes: no name server is asked for what cannot be.
    const std::string impossible(64, 'x');
    const SendResult unknown = Sender("http://" + impossible + "/").send();
    EXPECT_EQ(unknown.kind, Kind::failed);
    EXPECT_TRUE(contains(unknown.detail, "looking up " + impossible + ": ")) << unknown.detail;
}

TEST(HttpEventSender, ConnectsToNoPrivateNetworkUnlessAllowed) {
    Receiver receiver = answering(kOk);
    const auto detail = [](const std::string& url) {
        const SendResult result =
            Sender(url, std::chrono::seconds(20), PrivateNetworks::refused).send();
        EXPECT_EQ(result.kind, Kind::failed) << url;
        return result.detail;
    };
    EXPECT_EQ(detail(receiver.url()), "127.0.0.1 is no public address (loopback); "
                                      "webhooks.allow_private = true allows it");
    // Every way of writing it, and a name that leads to it.
    for (const std::string_view host : {"localhost", "127.1", "0x7f000001", "2130706433",
                                        "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"}) {
        const std::string text = detail(receiver.url(host));
        EXPECT_TRUE(contains(text, "webhooks.allow_private = true")) << host << ": " << text;
    }
    EXPECT_EQ(receiver.connections(), 0);
}

TEST(HttpEventSender, EndsWithItsContextInTheMiddleOfAnAttempt) {
    std::promise<void> asked;
    std::promise<void> closed;
    Receiver receiver([&](Peer& peer, int number) {
        if (number == 1) { // the one that is kept
            while (!peer.request().empty()) peer.send(kOk);
            return;
        }
        asked.set_value();
        peer.wait_for_close();
        closed.set_value();
    });
    const ManualClock clock(kNow);
    SenderOptions options;
    options.endpoints.push_back({receiver.url(), std::string(kSecret)});
    options.endpoints.push_back({receiver.url("localhost"), std::string(kSecret)});
    options.private_networks = PrivateNetworks::allowed;
    const auto sender = HttpEventSender::open(clock, options).value();
    const EventMessage message{"1", "{}"};
    {
        RunningCores cores(1);
        auto done = start_on(cores.at(0), sender->send(0, message));
        EXPECT_EQ(finish(done).kind, Kind::delivered);
        auto never = start_on(cores.at(0), sender->send(1, message));
        ASSERT_EQ(asked.get_future().wait_for(doorbuster::fixture::kPatience),
                  std::future_status::ready);
        cores.stop();
        sender->close();
    }
    EXPECT_EQ(closed.get_future().wait_for(doorbuster::fixture::kPatience),
              std::future_status::ready);
}

TEST(HttpEventSender, RefusesWrongOptions) {
    const ManualClock clock(kNow);
    SenderOptions options;
    options.endpoints.push_back({"https://shop.example/", "hush"});
    auto opened = HttpEventSender::open(clock, options);
    ASSERT_FALSE(opened.has_value());
    EXPECT_TRUE(contains(opened.error().context, "openssl rand -base64 32"));
    options.endpoints[0] = {"gopher://shop.example/", std::string(kSecret)};
    opened = HttpEventSender::open(clock, options);
    ASSERT_FALSE(opened.has_value());
    EXPECT_TRUE(contains(opened.error().context, "https://"));
}

// Trusts one certificate more, for as long as it lives.
class Trust {
public:
    explicit Trust(const Certificate& certificate) {
        ::setenv("SSL_CERT_FILE", certificate.cert_path().c_str(), 1);
    }
    ~Trust() { ::unsetenv("SSL_CERT_FILE"); }
    Trust(const Trust&) = delete;
    Trust& operator=(const Trust&) = delete;
};

Receiver answering_over_tls(const Certificate& certificate) {
    return Receiver(
        [](Peer& peer, int) {
            while (!peer.request().empty()) peer.send(kOk);
        },
        &certificate);
}

TEST(HttpEventSender, SendsOverTlsAndKeepsTheConnection) {
    const Certificate certificate("DNS:localhost");
    const Trust trust(certificate);
    Receiver receiver = answering_over_tls(certificate);
    Sender sender(receiver.url("localhost"));
    for (int i = 0; i < 3; ++i) {
        const SendResult result = sender.send();
        EXPECT_EQ(result.kind, Kind::delivered) << result.detail;
    }
    EXPECT_EQ(receiver.connections(), 1);
}

TEST(HttpEventSender, SendsOverTlsToAnAddressThatTheCertificateNames) {
    const Certificate certificate("IP:127.0.0.1");
    const Trust trust(certificate);
    Receiver receiver = answering_over_tls(certificate);
    EXPECT_EQ(Sender(receiver.url()).send().kind, Kind::delivered);
}

TEST(HttpEventSender, RefusesACertificateOfAnotherName) {
    const Certificate certificate("DNS:shop.example");
    const Trust trust(certificate);
    std::atomic<int> requests = 0;
    Receiver receiver(
        [&](Peer& peer, int) {
            while (!peer.request().empty()) ++requests;
        },
        &certificate);
    EXPECT_EQ(Sender(receiver.url("localhost")).send().detail,
              "TLS certificate: hostname mismatch");
    EXPECT_EQ(Sender(receiver.url()).send().detail, "TLS certificate: IP address mismatch");
    EXPECT_EQ(requests, 0);
}

TEST(HttpEventSender, RefusesACertificateThatNobodyTrusts) {
    const Certificate certificate("DNS:localhost");
    Receiver receiver = answering_over_tls(certificate);
    const SendResult result = Sender(receiver.url("localhost")).send();
    EXPECT_EQ(result.kind, Kind::failed);
    EXPECT_EQ(result.detail, "TLS certificate: self-signed certificate");
}

TEST(HttpEventSender, FailsOnAPlainReceiverBehindAnHttpsUrl) {
    Receiver receiver([](Peer& peer, int) { peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"); });
    const SendResult result =
        Sender("https://127.0.0.1:" + std::to_string(receiver.port()) + "/").send();
    EXPECT_EQ(result.kind, Kind::failed);
    EXPECT_TRUE(result.detail.starts_with("TLS: ")) << result.detail;
}

TEST(HttpEventSender, GivesUpOnATlsHandshakeThatDoesNotCome) {
    Receiver receiver([](Peer& peer, int) { peer.wait_for_close(); });
    const SendResult result =
        Sender("https://127.0.0.1:" + std::to_string(receiver.port()) + "/", Duration(2'000))
            .send();
    EXPECT_EQ(result.detail, "timed out in the TLS handshake");
}

} // namespace
} // namespace doorbuster::webhook
