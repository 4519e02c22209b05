// Asks a running Tandem from Node.js:
//   npm install --prefix examples/node && node examples/node/search.js "red mug" 127.0.0.1:50051
const path = require("path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const protos = path.join(__dirname, "..", "..", "protos");
const definition = loader.loadSync("tandem/v1/search.proto", {
  includeDirs: [protos],
  keepCase: true,
  defaults: true, // an empty list is [] and not undefined
  enums: String,
});
const { SearchService } = grpc.loadPackageDefinition(definition).tandem.v1;

const [query = "red mug", address = "127.0.0.1:50051"] = process.argv.slice(2);
const client = new SearchService(address, grpc.credentials.createInsecure());
const deadline = Date.now() + 500;

client.Search({ query, top_k: 5 }, { deadline }, (error, answer) => {
  if (error) {
    console.error(`${error.code}: ${error.details}`);
    process.exitCode = 1;
  } else {
    for (const hit of answer.hits) {
      console.log(`${hit.rank}. ${hit.product.title} (${hit.score.toFixed(3)})`);
    }
    for (const { reason, detail } of answer.degraded) {
      console.log(`degraded: ${reason} ${detail}`);
    }
  }
  client.close();
});
