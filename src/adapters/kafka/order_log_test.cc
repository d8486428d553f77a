// The order log over Kafka against the contract of every order log: librdkafka's mock cluster,
// which can be taken away or made to refuse, and the real broker that DOORBUSTER_TEST_KAFKA names.
#include <gtest/gtest.h>

#include "adapters/kafka/kafka_fixture.h"
#include "engine/read_back_log.h"
#include "ports/order_log_contract.h"
#include "runtime/clock.h"

namespace doorbuster::kafka {
namespace {

class Subject : public fixture::OrderLogSubject {
public:
    Subject(OpenOptions options, std::uint64_t lag_max) : options_(std::move(options)) {
        options_.notice = [](const std::string&) {};
        auto transport = KafkaTransport::open(options_);
        EXPECT_TRUE(transport) << transport.error().message();
        transport_ = std::move(transport.value());
        ReadBackLog::Options log_options;
        log_options.lag_max = lag_max;
        log_options.on_fatal = [](const Error& error) { ADD_FAILURE() << error.message(); };
        log_ = std::make_unique<ReadBackLog>(*transport_, cores_, clock_, std::move(log_options));
        const auto done = log_->start({}, {});
        EXPECT_TRUE(done) << done.error().message();
        cores_.start();
    }
    ~Subject() override {
        feed_.reset();
        log_->stop(Duration(0));
        transport_->stop(Duration(0));
        cores_.stop();
    }
    Subject(const Subject&) = delete;
    Subject& operator=(const Subject&) = delete;

    Cores& cores() override { return cores_; }
    OrderLog& log() override { return *log_; }
    LogFeed& feed() override {
        if (!feed_) feed_ = opened_feed(options_, positions_);
        return *feed_;
    }
    void store_everything() override {
        const auto ends = transport_->ends(kTestWait);
        ASSERT_TRUE(ends) << ends.error().message();
        LogPositions stored;
        for (std::uint32_t i = 0; i < ends->size(); ++i) stored.set(LogPartition(i), (*ends)[i]);
        log_->stored(stored);
    }

private:
    OpenOptions options_;
    SystemClock clock_;
    Cores cores_{2};
    std::unique_ptr<KafkaTransport> transport_;
    std::unique_ptr<ReadBackLog> log_;
    FakePositions positions_;
    std::unique_ptr<KafkaFeed> feed_;
};

// With a cluster that ends after what uses it.
class MockSubject : private MockCluster, public Subject {
public:
    explicit MockSubject(std::uint64_t lag_max) : Subject(MockCluster::options(), lag_max) {}
    [[nodiscard]] rd_kafka_mock_cluster_t* cluster() const { return MockCluster::get(); }
};

// Its broker is taken away.
class BrokerAway final : public MockSubject {
public:
    using MockSubject::MockSubject;
    void cut_off() override { rd_kafka_mock_broker_set_down(cluster(), 1); }
    void come_back() override { rd_kafka_mock_broker_set_up(cluster(), 1); }
};

// Its broker answers, but has too few replicas to take a record.
class BrokerRefuses final : public MockSubject {
public:
    using MockSubject::MockSubject;
    void cut_off() override {
        for (int i = 0; i < kRefusals; ++i) {
            rd_kafka_mock_push_request_errors(cluster(), kProduceRequest, 1,
                                              RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS);
        }
    }
    void come_back() override { rd_kafka_mock_clear_request_errors(cluster(), kProduceRequest); }

private:
    static constexpr int kRefusals = 10'000; // librdkafka asks every 50 ms
};

template <class T> std::unique_ptr<fixture::OrderLogSubject> make(std::uint64_t lag_max) {
    return std::make_unique<T>(lag_max);
}

// A topic of its own. The broker ends with the tests, and so do the topics.
std::unique_ptr<fixture::OrderLogSubject> make_on_broker(std::uint64_t lag_max) {
    if (real_brokers().empty()) return nullptr;
    return std::make_unique<Subject>(options_for(real_brokers(), "contract-" + random_text()),
                                     lag_max);
}

} // namespace
} // namespace doorbuster::kafka

namespace doorbuster::fixture {

INSTANTIATE_TEST_SUITE_P(KafkaMock, OrderLogContract,
                         testing::Values(&kafka::make<kafka::BrokerAway>));
INSTANTIATE_TEST_SUITE_P(KafkaBroker, OrderLogContract, testing::Values(&kafka::make_on_broker));
INSTANTIATE_TEST_SUITE_P(KafkaAway, OrderLogOutage,
                         testing::Values(&kafka::make<kafka::BrokerAway>));
INSTANTIATE_TEST_SUITE_P(KafkaRefuses, OrderLogOutage,
                         testing::Values(&kafka::make<kafka::BrokerRefuses>));

} // namespace doorbuster::fixture
