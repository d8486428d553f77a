# embed_pages(TARGET): gives TARGET doorbuster::web_pages() (app/web_pages.h) and
# doorbuster::stages::report_page() (app/stages/report_page.h), made of what is in web/: Vite builds
# it, web/tools/embed.mjs compresses it and writes it down as bytes. That needs Node.js 18 or newer
# and npm; without them server and `bench stages` are built without pages, and say so.
set(DOORBUSTER_PAGES "auto" CACHE STRING
  "Build the console and the storefront: on, off, or auto (where Node.js and npm are)")
set_property(CACHE DOORBUSTER_PAGES PROPERTY STRINGS auto on off)

function(embed_pages target)
  set(web ${PROJECT_SOURCE_DIR}/web)
  set(out ${PROJECT_BINARY_DIR}/generated/app/web_pages.cc)
  set(why_not "")
  find_program(NODE NAMES node nodejs)
  find_program(NPM npm)
  mark_as_advanced(NODE NPM)
  if(DOORBUSTER_PAGES STREQUAL "off")
    set(why_not "DOORBUSTER_PAGES is off")
  elseif(DOORBUSTER_PAGES STREQUAL "auto" AND DOORBUSTER_SANITIZE)
    set(why_not "this build is for a sanitizer")
  elseif(NOT NODE OR NOT NPM)
    set(why_not "there is no Node.js with npm here (Debian: nodejs, npm)")
  else()
    execute_process(COMMAND ${NODE} --version OUTPUT_VARIABLE version ERROR_QUIET
      OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REGEX REPLACE "^v" "" version "${version}")
    if(version VERSION_LESS 18)
      set(why_not "Node.js is ${version}, which is older than 18")
    endif()
  endif()
  if(why_not)
    if(DOORBUSTER_PAGES STREQUAL "on")
      message(FATAL_ERROR "The pages cannot be built: ${why_not}")
    endif()
    message(STATUS "Without the console and the storefront: ${why_not}")
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/cmake/no_pages.cc)
    set(DOORBUSTER_HAS_PAGES OFF PARENT_SCOPE)
    return()
  endif()

  message(STATUS "With the console and the storefront: Node.js ${version}")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS
    ${web}/src/* ${web}/shop/* ${web}/report/* ${web}/tools/*)
  list(APPEND sources ${web}/index.html ${web}/vite.config.js ${web}/tsconfig.json
    ${web}/package.json ${web}/package-lock.json)
  add_custom_command(OUTPUT ${out}
    COMMAND ${web}/tools/build ${NODE} ${NPM} ${out} ${DOORBUSTER_PAGES}
    DEPENDS ${sources}
    COMMENT "Building the console and the storefront"
    VERBATIM)
  target_sources(${target} PRIVATE ${out})
  set(DOORBUSTER_HAS_PAGES ON PARENT_SCOPE)
endfunction()
