# embed_text(OUT.cc file function): writes a source that defines
# `std::string_view doorbuster::function()` with the file's content.
function(embed_text out file function)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} content)
  set(code "// Made from ${file} by cmake/EmbedText.cmake.\n#include \"app/openapi.h\"\n\n")
  string(APPEND code "namespace doorbuster {\n\nstd::string_view ${function}() {\n")
  string(APPEND code "    return R\"embedded(${content})embedded\";\n}\n\n} // namespace doorbuster\n")
  file(CONFIGURE OUTPUT ${out} CONTENT "${code}" @ONLY)
endfunction()
