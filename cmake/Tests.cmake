# Tests: unit tests beside their sources, black-box tests in tests/, run by ctest under labels.
enable_testing()
include(GoogleTest)
find_package(GTest REQUIRED)
find_package(rapidcheck REQUIRED)

# One program a library: every *_test.cc of the folder.
function(doorbuster_tests name folder)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${folder}/*_test.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_link_libraries(${name}_test PRIVATE ${ARGN} GTest::gtest GTest::gmock GTest::gtest_main
    rapidcheck)
  gtest_discover_tests(${name}_test TEST_PREFIX ${name}. PROPERTIES LABELS unit TIMEOUT 300
    DISCOVERY_TIMEOUT 60)
endfunction()

doorbuster_tests(base base doorbuster_base)
doorbuster_tests(domain domain doorbuster_domain)
doorbuster_tests(runtime runtime doorbuster_runtime)
doorbuster_tests(ports ports doorbuster_ports)
doorbuster_tests(engine engine doorbuster_engine doorbuster_memory)
doorbuster_tests(http adapters/http doorbuster_http doorbuster_memory)
doorbuster_tests(memory adapters/memory doorbuster_memory)
doorbuster_tests(sqlite adapters/sqlite doorbuster_sqlite)
doorbuster_tests(sql adapters/sql doorbuster_sql)
doorbuster_tests(jwt adapters/jwt doorbuster_jwt)
doorbuster_tests(app app doorbuster_app)
doorbuster_tests(commands app/commands doorbuster_app)
doorbuster_tests(load app/load doorbuster_app)
